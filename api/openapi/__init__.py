"""The OpenAPI document of the HTTP interface, made from the code."""
