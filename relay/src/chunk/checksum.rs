//! The CRC-32C of bytes in a row, from those of its parts.
//!
//! Pure. A CRC is a polynomial over bits, and bytes behind it multiply it by a power of x. The power is found by squaring, which
//! takes less than a microsecond, whereas the function of the crate takes as long as reading a megabyte again.

/// Castagnoli's polynomial without its highest term. The highest bit is the lowest power.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x to the power of 0.
const ONE: u32 = 1 << 31;

/// x to the power of 8: one byte.
const BYTE: u32 = ONE >> 8;

/// x to the powers of 8 × 2^n.
const POWERS: [u32; usize::BITS as usize] = powers();

const fn powers() -> [u32; usize::BITS as usize] {
    let mut powers = [BYTE; usize::BITS as usize];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = multiply(powers[n - 1], powers[n - 1]);
        n += 1;
    }
    powers
}

/// The product modulo the polynomial.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let (mut product, mut term) = (0, ONE);
    while term != 0 {
        if a & term != 0 {
            product ^= b;
        }
        let carry = if b & 1 == 0 { 0 } else { POLYNOMIAL };
        b = (b >> 1) ^ carry;
        term >>= 1;
    }
    product
}

/// The CRC-32C of bytes with the CRC-32C `first` and, behind them, `len` bytes with the CRC-32C `second`.
pub(crate) fn joined_crc32c(first: u32, second: u32, len: usize) -> u32 {
    let bits = POWERS.iter().zip(0..).filter(|(_, bit)| len >> bit & 1 == 1);
    bits.fold(first, |crc, (power, _)| multiply(*power, crc)) ^ second
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_checksum_of_parts_is_that_of_the_whole(
            first in prop::collection::vec(any::<u8>(), 0..300),
            second in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            let joined = joined_crc32c(crc32c::crc32c(&first), crc32c::crc32c(&second), second.len());
            prop_assert_eq!(joined, crc32c::crc32c(&[first, second].concat()));
        }

        #[test]
        fn long_parts_are_joined_as_the_crate_does_it(first in any::<u32>(), second in any::<u32>(), len in 0_usize..1 << 40) {
            prop_assert_eq!(joined_crc32c(first, second, len), crc32c::crc32c_combine(first, second, len));
        }
    }
}
