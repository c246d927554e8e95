"""HTTP/1.1 as S3's clients speak it: heads, bodies, signatures."""
