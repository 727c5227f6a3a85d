//! Bits, the highest first.

/// Reads bits. Past the end there is nothing, ever after.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// In bits.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    pub(super) fn bit(&mut self) -> Option<bool> {
        let byte = self.data.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// Up to 32 bits.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= 32, "a word is 32 bits");
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        let at = self.at.checked_add(count)?;
        if at > self.data.len().checked_mul(8)? {
            return None;
        }
        self.at = at;
        Some(())
    }

    /// An Exp-Golomb number.
    pub(super) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.take(zeros)?;
        ((1_u32 << zeros) - 1).checked_add(rest)
    }

    /// An Exp-Golomb number with a sign.
    pub(super) fn signed_golomb(&mut self) -> Option<i32> {
        let number = i64::from(self.golomb()?);
        let signed = if number % 2 == 1 {
            number / 2 + 1
        } else {
            -(number / 2)
        };
        i32::try_from(signed).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length() {
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!(bits.golomb(), Some(0));
        assert_eq!(bits.golomb(), Some(1));
        assert_eq!(bits.signed_golomb(), Some(-1));
        assert_eq!(bits.signed_golomb(), Some(2));
        assert_eq!(bits.take(4), Some(0b0010));
        assert_eq!(bits.skip(20), None);
        assert_eq!(bits.take(32), None);
        assert_eq!(Bits::new(&[0; 8]).golomb(), None);
    }
}
