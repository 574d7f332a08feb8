//! The packet path allocates nothing once it has seen a flow.
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use gm_core::esp::aead::ICV;
use gm_core::esp::{AeadProvider, AuthenticationFailed, KeyFingerprint, PacketAead};
use gm_core::sad::KeyMaterial;
use instructions::packet_path::{ALL, NoCipher, passing, sealing};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: `place` came from `alloc` or `realloc` above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `place` came from `alloc` or `realloc` above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The cipher that members use.
struct Ring;

struct Key(LessSafeKey);

impl AeadProvider for Ring {
    fn expand(&self, key: &KeyMaterial) -> Box<dyn PacketAead> {
        let key = UnboundKey::new(&AES_256_GCM, key.key()).expect("32 octets");
        Box::new(Key(LessSafeKey::new(key)))
    }

    fn fingerprint(&self, key: &KeyMaterial) -> KeyFingerprint {
        NoCipher.fingerprint(key)
    }
}

impl PacketAead for Key {
    fn seal(&self, nonce: &[u8; 12], associated: &[u8; 8], text: &mut [u8]) -> [u8; ICV] {
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(*associated),
                text,
            )
            .expect("short");
        let mut icv = [0; ICV];
        icv.copy_from_slice(tag.as_ref());
        icv
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        associated: &[u8; 8],
        text_and_icv: &mut [u8],
    ) -> Result<(), AuthenticationFailed> {
        self.0
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(*associated),
                text_and_icv,
            )
            .map(drop)
            .map_err(|_| AuthenticationFailed)
    }
}

/// Allocations of a hundred calls after the first ten.
fn allocations(mut work: impl FnMut()) -> u64 {
    (0..10).for_each(|_| work());
    let before = ALLOCATIONS.get();
    (0..100).for_each(|_| work());
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![0_u8; 100]))) >= 100);
}

#[test]
fn sealing_allocates_nothing() {
    for train in [false, true] {
        assert_eq!(allocations(sealing(ALL, train, &Ring)), 0, "train: {train}");
    }
}

#[test]
fn a_packet_passes_from_tun_to_tun_without_an_allocation() {
    for train in [false, true] {
        assert_eq!(allocations(passing(ALL, train, &Ring)), 0, "train: {train}");
    }
}
