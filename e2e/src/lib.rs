//! End-to-end tests on real processes, network namespaces and independent tools.
