DELETE FROM staged_bases
