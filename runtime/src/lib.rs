//! What every getvpn process has: clock, logging, metrics endpoint, health, shutdown, TLS.
