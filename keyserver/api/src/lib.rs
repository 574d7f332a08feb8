//! Types and client of the key server's admin API.
