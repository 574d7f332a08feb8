//! Custom resources of getvpn.dev/v1alpha1.
