//! ESP in tunnel mode with address preservation (RFC 4303, RFC 5374 §3.1).
