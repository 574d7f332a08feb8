//! What both ends of an exchange share: Message IDs, retransmission, reassembly, cookies.
