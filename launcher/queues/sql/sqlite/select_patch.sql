SELECT content FROM patches WHERE digest = :digest
