"""What a request and a response are made of: fields, cookies, queries, forms, codings, dates."""
