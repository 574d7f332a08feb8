//! Custom resources to validated group policy and Kubernetes objects, pure.
