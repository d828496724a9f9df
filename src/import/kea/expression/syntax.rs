//! The parts of a test expression.

/// An expression that is true or false.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::import::kea) enum Test {
    Not(Box<Test>),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
    Equal(Text, Text),
    Exists(Field),
    Member(String),
    /// `match('REGULAR EXPRESSION', text)`
    Match,
}

/// An expression with a text.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::import::kea) enum Text {
    Bytes(Vec<u8>),
    /// A number, which compares as four bytes.
    Number(u32),
    Field(Field),
    /// The text, the first byte, and the number of bytes if it is not all.
    Substring(Box<Text>, i64, Option<i64>),
    IfElse(Box<Test>, Box<Text>, Box<Text>),
    /// `hexstring(text, separator)`
    Hex(Box<Text>, Vec<u8>),
    /// A function with no counterpart.
    Other(String),
}

/// A part of the client's message.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::import::kea) enum Field {
    /// `option[…]`, with `true` if it is compared as its text form.
    Option(Code, bool),
    /// `option[…].option[…]`
    SubOption(Code, Code),
    /// `relay4[…]`
    Relay(Code),
    /// `pkt4.…` and `pkt.…`
    Packet(String),
    /// `vendor[…]` and `vendor.enterprise`: option 125.
    Vendor(Option<u32>, Option<Code>),
    /// `vendor-class[…].data` and `vendor-class.enterprise`: option 124. The last value is the index of the data.
    VendorClass(Option<u32>, u32),
    /// The enterprise number of option 125, or of option 124 if `true`.
    Enterprise(bool),
}

/// An option by number or by name.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::import::kea) enum Code {
    Number(u32),
    Name(String),
}

/// A token of an expression.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Hex(Vec<u8>),
    Number(i64),
    Address([u8; 4]),
    Sign(&'static str),
}

/// A parsed part, or the offset of the fault and its reason.
pub(super) type Parsed<T> = Result<T, (usize, String)>;
