//! Certificates for these tests.
