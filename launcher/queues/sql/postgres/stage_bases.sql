COPY staged_bases (number, document) FROM STDIN
