//! IP packets as the packet path needs to read and change them.
