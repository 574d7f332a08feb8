//! Numbers assigned by IANA for IKEv2 and G-IKEv2, as open newtypes: an unknown number is a
//! value like any other, and whoever uses it decides what to do with it.

/// Declares an open number type with named constants.
macro_rules! registry {
    ($(#[$meta:meta])* $name:ident($repr:ty) { $($(#[$item:meta])* $constant:ident = $value:expr, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            $($(#[$item])* #[doc = concat!("`", stringify!($value), "` ", $text, ".")]
            pub const $constant: Self = Self($value);)*

            /// The registered name, if this implementation knows the number.
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some($text),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => write!(formatter, "{name} ({})", self.0),
                    None => write!(formatter, "{}", self.0),
                }
            }
        }
    };
}

registry! {
    /// Exchange type of the IKE header (RFC 7296 §3.1, RFC 9838 §9.2).
    ExchangeType(u8) {
        IKE_SA_INIT = 34, "IKE_SA_INIT";
        IKE_AUTH = 35, "IKE_AUTH";
        CREATE_CHILD_SA = 36, "CREATE_CHILD_SA";
        INFORMATIONAL = 37, "INFORMATIONAL";
        GSA_AUTH = 39, "GSA_AUTH";
        GSA_REGISTRATION = 40, "GSA_REGISTRATION";
        GSA_REKEY = 41, "GSA_REKEY";
        GSA_INBAND_REKEY = 42, "GSA_INBAND_REKEY";
        IKE_INTERMEDIATE = 43, "IKE_INTERMEDIATE";
        IKE_FOLLOWUP_KE = 44, "IKE_FOLLOWUP_KE";
        GETVPN_REKEY_ACK = 240, "GETVPN_REKEY_ACK";
    }
}

registry! {
    /// Payload type (RFC 7296 §3.2, RFC 9838 §9.2).
    PayloadType(u8) {
        NONE = 0, "no next payload";
        SECURITY_ASSOCIATION = 33, "SA";
        KEY_EXCHANGE = 34, "KE";
        IDENTIFICATION_INITIATOR = 35, "IDi";
        IDENTIFICATION_RESPONDER = 36, "IDr";
        CERTIFICATE = 37, "CERT";
        CERTIFICATE_REQUEST = 38, "CERTREQ";
        AUTHENTICATION = 39, "AUTH";
        NONCE = 40, "Nonce";
        NOTIFY = 41, "Notify";
        DELETE = 42, "Delete";
        VENDOR_ID = 43, "Vendor ID";
        TRAFFIC_SELECTORS_INITIATOR = 44, "TSi";
        TRAFFIC_SELECTORS_RESPONDER = 45, "TSr";
        ENCRYPTED = 46, "SK";
        CONFIGURATION = 47, "CP";
        EXTENSIBLE_AUTHENTICATION = 48, "EAP";
        GENERIC_SECURE_PASSWORD = 49, "GSPM";
        GROUP_IDENTIFICATION = 50, "IDg";
        GROUP_SECURITY_ASSOCIATION = 51, "GSA";
        KEY_DOWNLOAD = 52, "KD";
        ENCRYPTED_FRAGMENT = 53, "SKF";
        PUZZLE_SOLUTION = 54, "PS";
    }
}

registry! {
    /// Security protocol identifier (RFC 7296 §3.3.1, RFC 9838 §9.2).
    ProtocolId(u8) {
        NONE = 0, "none";
        IKE = 1, "IKE";
        AH = 2, "AH";
        ESP = 3, "ESP";
        GIKE_UPDATE = 6, "GIKE_UPDATE";
    }
}

registry! {
    /// Transform type (RFC 7296 §3.3.2, RFC 9370, RFC 9838 §9.2).
    TransformType(u8) {
        ENCRYPTION = 1, "ENCR";
        PSEUDORANDOM_FUNCTION = 2, "PRF";
        INTEGRITY = 3, "INTEG";
        KEY_EXCHANGE = 4, "KE";
        SEQUENCE_NUMBERS = 5, "SN";
        ADDITIONAL_KEY_EXCHANGE_1 = 6, "ADDKE1";
        ADDITIONAL_KEY_EXCHANGE_2 = 7, "ADDKE2";
        ADDITIONAL_KEY_EXCHANGE_3 = 8, "ADDKE3";
        ADDITIONAL_KEY_EXCHANGE_4 = 9, "ADDKE4";
        ADDITIONAL_KEY_EXCHANGE_5 = 10, "ADDKE5";
        ADDITIONAL_KEY_EXCHANGE_6 = 11, "ADDKE6";
        ADDITIONAL_KEY_EXCHANGE_7 = 12, "ADDKE7";
        KEY_WRAP = 13, "KWA";
        GROUP_CONTROLLER_AUTHENTICATION = 14, "GCAUTH";
    }
}

registry! {
    /// Encryption transform ID, transform type 1.
    EncryptionId(u16) {
        AES_CBC = 12, "ENCR_AES_CBC";
        AES_CTR = 13, "ENCR_AES_CTR";
        AES_CCM_16 = 16, "ENCR_AES_CCM_16";
        AES_GCM_8 = 18, "ENCR_AES_GCM_8";
        AES_GCM_12 = 19, "ENCR_AES_GCM_12";
        AES_GCM_16 = 20, "ENCR_AES_GCM_16";
        NULL_AUTH_AES_GMAC = 21, "ENCR_NULL_AUTH_AES_GMAC";
        CHACHA20_POLY1305 = 28, "ENCR_CHACHA20_POLY1305";
        AES_CCM_8_IIV = 29, "ENCR_AES_CCM_8_IIV";
        AES_GCM_16_IIV = 30, "ENCR_AES_GCM_16_IIV";
        CHACHA20_POLY1305_IIV = 31, "ENCR_CHACHA20_POLY1305_IIV";
    }
}

registry! {
    /// Pseudorandom function transform ID, transform type 2 (RFC 4868).
    PrfId(u16) {
        HMAC_SHA2_256 = 5, "PRF_HMAC_SHA2_256";
        HMAC_SHA2_384 = 6, "PRF_HMAC_SHA2_384";
        HMAC_SHA2_512 = 7, "PRF_HMAC_SHA2_512";
    }
}

registry! {
    /// Integrity transform ID, transform type 3.
    IntegrityId(u16) {
        NONE = 0, "NONE";
        HMAC_SHA2_256_128 = 12, "AUTH_HMAC_SHA2_256_128";
        HMAC_SHA2_384_192 = 13, "AUTH_HMAC_SHA2_384_192";
        HMAC_SHA2_512_256 = 14, "AUTH_HMAC_SHA2_512_256";
    }
}

registry! {
    /// Key exchange method, transform types 4 and 6 to 12 (RFC 9370).
    KeyExchangeMethod(u16) {
        NONE = 0, "NONE";
        MODP_2048 = 14, "MODP 2048";
        MODP_3072 = 15, "MODP 3072";
        MODP_4096 = 16, "MODP 4096";
        ECP_256 = 19, "P-256";
        ECP_384 = 20, "P-384";
        ECP_521 = 21, "P-521";
        CURVE25519 = 31, "Curve25519";
        CURVE448 = 32, "Curve448";
        ML_KEM_512 = 35, "ML-KEM-512";
        ML_KEM_768 = 36, "ML-KEM-768";
        ML_KEM_1024 = 37, "ML-KEM-1024";
    }
}

registry! {
    /// Sequence Numbers transform ID, transform type 5 (RFC 9827, RFC 9838 §4.4.2.1.3).
    SequenceNumbersId(u16) {
        SEQUENTIAL_32 = 0, "32-bit Sequential Numbers";
        PARTIALLY_TRANSMITTED_64 = 1, "Partially Transmitted 64-bit Sequential Numbers";
        UNSPECIFIED_32 = 2, "32-bit Unspecified Numbers";
    }
}

registry! {
    /// Key Wrap Algorithm transform ID, transform type 13 (RFC 9838 §9.1).
    KeyWrapId(u16) {
        KW_5649_128 = 1, "KW_5649_128";
        KW_5649_192 = 2, "KW_5649_192";
        KW_5649_256 = 3, "KW_5649_256";
        KW_ARX = 4, "KW_ARX";
    }
}

registry! {
    /// Group Controller Authentication Method transform ID, transform type 14 (RFC 9838 §9.1).
    GroupControllerAuthenticationId(u16) {
        IMPLICIT = 1, "Implicit";
        DIGITAL_SIGNATURE = 2, "Digital Signature";
    }
}

registry! {
    /// Transform attribute type (RFC 7296 §3.3.5, RFC 9838 §9.2).
    TransformAttributeType(u16) {
        KEY_LENGTH = 14, "Key Length";
        SIGNATURE_ALGORITHM_IDENTIFIER = 18, "Signature Algorithm Identifier";
    }
}

registry! {
    /// GSA attribute type (RFC 9838 §4.4.2.2); from 16384 on, ours.
    GsaAttributeType(u16) {
        KEY_LIFETIME = 1, "GSA_KEY_LIFETIME";
        INITIAL_MESSAGE_ID = 2, "GSA_INITIAL_MESSAGE_ID";
        NEXT_SPI = 3, "GSA_NEXT_SPI";
        ACTIVATION_DELAY_MS = 16384, "ACTIVATION_DELAY_MS";
        ASSOCIATION = 16385, "ASSOCIATION";
        PSEUDOTIME_WINDOW_MS = 16386, "PSEUDOTIME_WINDOW_MS";
        ENCAPSULATION = 16387, "ENCAPSULATION";
        LIFETIME_KILOBYTES = 16388, "LIFETIME_KILOBYTES";
    }
}

registry! {
    /// Group-wide policy attribute type (RFC 9838 §4.4.3.1); from 16384 on, ours.
    GroupWideAttributeType(u16) {
        ACTIVATION_TIME_DELAY = 1, "GWP_ATD";
        DEACTIVATION_TIME_DELAY = 2, "GWP_DTD";
        SENDER_ID_BITS = 3, "GWP_SENDER_ID_BITS";
        PSEUDOTIME = 16384, "PSEUDOTIME";
        ACCESS_LIST = 16385, "ACCESS_LIST";
        DIRECTION = 16386, "DIRECTION";
        POLICY_REVISION = 16387, "POLICY_REVISION";
    }
}

registry! {
    /// Group Key Bag attribute type (RFC 9838 §4.5.2).
    GroupKeyBagAttributeType(u16) {
        SA_KEY = 1, "SA_KEY";
    }
}

registry! {
    /// Member Key Bag attribute type (RFC 9838 §4.5.3).
    MemberKeyBagAttributeType(u16) {
        WRAP_KEY = 1, "WRAP_KEY";
        AUTH_KEY = 2, "AUTH_KEY";
        GM_SENDER_ID = 3, "GM_SENDER_ID";
    }
}

registry! {
    /// Identification type (RFC 7296 §3.5).
    IdType(u8) {
        IPV4_ADDRESS = 1, "IPv4";
        FQDN = 2, "FQDN";
        RFC822_ADDRESS = 3, "RFC822";
        IPV6_ADDRESS = 5, "IPv6";
        DER_ASN1_DN = 9, "DistinguishedName";
        DER_ASN1_GN = 10, "GeneralName";
        KEY_ID = 11, "KeyID";
        NULL = 13, "NULL";
    }
}

registry! {
    /// Certificate encoding (RFC 7296 §3.6).
    CertificateEncoding(u8) {
        X509_SIGNATURE = 4, "X.509 certificate";
        CERTIFICATE_REVOCATION_LIST = 7, "CRL";
        HASH_AND_URL = 12, "hash and URL of a certificate";
        OCSP_CONTENT = 14, "OCSP content";
        RAW_PUBLIC_KEY = 15, "raw public key";
    }
}

registry! {
    /// Authentication method (RFC 7296 §3.8, RFC 7427 §3).
    AuthenticationMethod(u8) {
        RSA_DIGITAL_SIGNATURE = 1, "RSA Digital Signature";
        SHARED_KEY = 2, "Shared Key MIC";
        NULL = 13, "NULL";
        DIGITAL_SIGNATURE = 14, "Digital Signature";
    }
}

registry! {
    /// Hash algorithm of SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4, RFC 8420).
    HashAlgorithmId(u16) {
        SHA1 = 1, "SHA1";
        SHA2_256 = 2, "SHA2-256";
        SHA2_384 = 3, "SHA2-384";
        SHA2_512 = 4, "SHA2-512";
        IDENTITY = 5, "Identity";
    }
}

registry! {
    /// Traffic selector type (RFC 7296 §3.13.1).
    TrafficSelectorType(u8) {
        IPV4_ADDRESS_RANGE = 7, "TS_IPV4_ADDR_RANGE";
        IPV6_ADDRESS_RANGE = 8, "TS_IPV6_ADDR_RANGE";
    }
}

registry! {
    /// Notify message type (RFC 7296 §3.10.1, RFC 9838 §4.7). Below 16384: errors.
    NotifyType(u16) {
        UNSUPPORTED_CRITICAL_PAYLOAD = 1, "UNSUPPORTED_CRITICAL_PAYLOAD";
        INVALID_IKE_SPI = 4, "INVALID_IKE_SPI";
        INVALID_MAJOR_VERSION = 5, "INVALID_MAJOR_VERSION";
        INVALID_SYNTAX = 7, "INVALID_SYNTAX";
        INVALID_MESSAGE_ID = 9, "INVALID_MESSAGE_ID";
        INVALID_SPI = 11, "INVALID_SPI";
        NO_PROPOSAL_CHOSEN = 14, "NO_PROPOSAL_CHOSEN";
        INVALID_KE_PAYLOAD = 17, "INVALID_KE_PAYLOAD";
        AUTHENTICATION_FAILED = 24, "AUTHENTICATION_FAILED";
        NO_ADDITIONAL_SAS = 35, "NO_ADDITIONAL_SAS";
        TEMPORARY_FAILURE = 43, "TEMPORARY_FAILURE";
        CHILD_SA_NOT_FOUND = 44, "CHILD_SA_NOT_FOUND";
        INVALID_GROUP_ID = 45, "INVALID_GROUP_ID";
        AUTHORIZATION_FAILED = 46, "AUTHORIZATION_FAILED";
        STATE_NOT_FOUND = 47, "STATE_NOT_FOUND";
        REGISTRATION_FAILED = 49, "REGISTRATION_FAILED";
        INITIAL_CONTACT = 16384, "INITIAL_CONTACT";
        SET_WINDOW_SIZE = 16385, "SET_WINDOW_SIZE";
        NAT_DETECTION_SOURCE_IP = 16388, "NAT_DETECTION_SOURCE_IP";
        NAT_DETECTION_DESTINATION_IP = 16389, "NAT_DETECTION_DESTINATION_IP";
        COOKIE = 16390, "COOKIE";
        USE_TRANSPORT_MODE = 16391, "USE_TRANSPORT_MODE";
        REKEY_SA = 16393, "REKEY_SA";
        CHILDLESS_IKEV2_SUPPORTED = 16418, "CHILDLESS_IKEV2_SUPPORTED";
        GROUP_SENDER = 16429, "GROUP_SENDER";
        IKEV2_FRAGMENTATION_SUPPORTED = 16430, "IKEV2_FRAGMENTATION_SUPPORTED";
        SIGNATURE_HASH_ALGORITHMS = 16431, "SIGNATURE_HASH_ALGORITHMS";
        INTERMEDIATE_EXCHANGE_SUPPORTED = 16438, "INTERMEDIATE_EXCHANGE_SUPPORTED";
        ADDITIONAL_KEY_EXCHANGE = 16441, "ADDITIONAL_KEY_EXCHANGE";
        GETVPN_REKEY_ACKNOWLEDGEMENT = 40960, "GETVPN_REKEY_ACKNOWLEDGEMENT";
        GETVPN_REGISTRATION_ID = 40961, "GETVPN_REGISTRATION_ID";
    }
}

impl NotifyType {
    /// Whether the notification reports an error (RFC 7296 §3.10.1).
    pub fn is_error(self) -> bool {
        self.0 < 16384
    }
}

impl KeyWrapId {
    /// Octets of the key wrap key (RFC 9838 §4.4.2.1.2); `None` for algorithms whose key length we do not know.
    pub fn key_length(self) -> Option<usize> {
        match self {
            Self::KW_5649_128 => Some(16),
            Self::KW_5649_192 => Some(24),
            Self::KW_5649_256 => Some(32),
            _ => None,
        }
    }
}

impl TransformType {
    /// The number 1 to 7 of an Additional Key Exchange (RFC 9370), or `None` for other types.
    pub fn additional_key_exchange(self) -> Option<u8> {
        match self.0 {
            6..=12 => self.0.checked_sub(5),
            _ => None,
        }
    }
}
