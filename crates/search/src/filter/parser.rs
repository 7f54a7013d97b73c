//! The reader of filters: recursive descent over the tokens.

use std::ops::Range;

use super::lexer::{Fault, Spanned, Token, tokens};
use super::syntax::{Comparison, Expression, Operand, Subject};
use crate::catalogue::ColumnKind;
use crate::excerpt;

/// How deep parentheses and `not` may be nested, and how many tests there may be, so that no text exhausts the stack.
const DEPTH: usize = 100;

/// How a name becomes a subject, or a reason why not.
type Columns<'a> = &'a dyn Fn(&str) -> Result<Subject, String>;

/// Reads the filter in `text`.
pub(super) fn parse(text: &str, columns: Columns<'_>) -> Result<Expression, Fault> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, end: text.len(), columns };
    let expression = parser.any(0)?;
    match parser.peek() {
        None => Ok(expression),
        Some(_) => Err(parser.fault("expected `and`, `or` or the end")),
    }
}

struct Parser<'a> {
    tokens: &'a [Spanned],
    at: usize,
    end: usize,
    columns: Columns<'a>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|spanned| &spanned.token)
    }

    fn place(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.end..self.end, |spanned| spanned.place.clone())
    }

    /// A fault at the next token, with what was found.
    fn fault(&self, expected: &str) -> Fault {
        let found = match self.peek() {
            None => "the end".to_string(),
            Some(Token::Word(word)) => format!("`{}`", excerpt(word)),
            Some(Token::Quoted(text)) => format!("\"{}\"", excerpt(text)),
            Some(Token::Sign(sign)) => format!("`{sign}`"),
        };
        Fault { place: self.place(), reason: format!("{expected}, found {found}") }
    }

    /// Takes the keyword if it is next.
    fn keyword(&mut self, keyword: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes the sign if it is next.
    fn sign(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self, depth: usize) -> Result<Expression, Fault> {
        let mut terms = vec![self.all(depth)?];
        while self.keyword("or") {
            terms.push(self.all(depth)?);
        }
        Ok(balanced(terms, Expression::Or))
    }

    fn all(&mut self, depth: usize) -> Result<Expression, Fault> {
        let mut factors = vec![self.factor(depth)?];
        while self.keyword("and") {
            factors.push(self.factor(depth)?);
        }
        Ok(balanced(factors, Expression::And))
    }

    fn factor(&mut self, depth: usize) -> Result<Expression, Fault> {
        if depth > DEPTH {
            let reason = format!("more than {DEPTH} levels of parentheses and `not`");
            return Err(Fault { place: self.place(), reason });
        }
        if self.keyword("not") {
            return Ok(Expression::Not(Box::new(self.factor(depth + 1)?)));
        }
        if self.sign("(") {
            let inner = self.any(depth + 1)?;
            return match self.sign(")") {
                true => Ok(inner),
                false => Err(self.fault("expected `)`")),
            };
        }
        self.test()
    }

    fn test(&mut self) -> Result<Expression, Fault> {
        let place = self.place();
        let name = match self.peek() {
            Some(Token::Word(name) | Token::Quoted(name)) => name.clone(),
            _ => return Err(self.fault("expected a column")),
        };
        self.at += 1;
        let subject = (self.columns)(&name).map_err(|reason| Fault { place, reason })?;
        if self.keyword("is") {
            let is_negated = self.keyword("not");
            let is_known = match () {
                () if self.keyword("known") => true,
                () if self.keyword("unknown") => false,
                () => return Err(self.fault("expected `known` or `unknown`")),
            };
            let known = Expression::Known(subject);
            return Ok(if is_known != is_negated { known } else { Expression::Not(Box::new(known)) });
        }
        let start = self.at;
        let is_negated = self.keyword("not");
        if self.keyword("in") {
            let inside = if self.sign("(") { self.list(subject)? } else { self.range(subject)? };
            return Ok(if is_negated { Expression::Not(Box::new(inside)) } else { inside });
        }
        self.at = start;
        if let Some(comparison) = self.comparison() {
            return self.compared(subject, comparison);
        }
        let is_range = |token: Option<&Spanned>| matches!(token, Some(Spanned { token: Token::Sign(".."), .. }));
        if is_range(self.tokens.get(self.at)) || is_range(self.tokens.get(self.at + 1)) {
            return self.range(subject);
        }
        Err(self.fault("expected =, !=, <, <=, >, >=, ~, `in`, `is` or a range such as 90..110"))
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let comparison = match self.peek()? {
            Token::Sign("=") => Comparison::Equal,
            Token::Sign("!=") => Comparison::NotEqual,
            Token::Sign("<") => Comparison::Less,
            Token::Sign("<=") => Comparison::LessOrEqual,
            Token::Sign(">") => Comparison::Greater,
            Token::Sign(">=") => Comparison::GreaterOrEqual,
            Token::Sign("~") => Comparison::Contains,
            _ => return None,
        };
        self.at += 1;
        Some(comparison)
    }

    fn compared(&mut self, subject: Subject, comparison: Comparison) -> Result<Expression, Fault> {
        let place = self.place();
        let is_order = !matches!(comparison, Comparison::Equal | Comparison::NotEqual | Comparison::Contains);
        if is_order && subject.kind() == ColumnKind::Text {
            let reason = format!("`{}` holds texts, which are compared with =, != and ~", subject.name());
            return Err(Fault { place, reason });
        }
        if comparison == Comparison::Contains && subject.kind() == ColumnKind::Number {
            let reason = format!("`{}` holds numbers, which contain no text", subject.name());
            return Err(Fault { place, reason });
        }
        let operand = self.operand(&subject)?;
        if comparison == Comparison::Equal && matches!(self.peek(), Some(Token::Sign(".."))) {
            self.at -= 1;
            return self.range(subject);
        }
        Ok(Expression::Compare(subject, comparison, operand))
    }

    fn list(&mut self, subject: Subject) -> Result<Expression, Fault> {
        let mut operands = vec![self.operand(&subject)?];
        while self.sign(",") {
            operands.push(self.operand(&subject)?);
        }
        match self.sign(")") {
            true => Ok(Expression::In(subject, operands)),
            false => Err(self.fault("expected `,` or `)`")),
        }
    }

    fn operand(&mut self, subject: &Subject) -> Result<Operand, Fault> {
        let place = self.place();
        let (text, is_quoted) = match self.peek() {
            Some(Token::Word(word)) => (word.clone(), false),
            Some(Token::Quoted(text)) => (text.clone(), true),
            _ => return Err(self.fault("expected a value")),
        };
        self.at += 1;
        if let Some(name) = text.strip_prefix("seed.").filter(|_| !is_quoted) {
            let of_seed = (self.columns)(name).map_err(|reason| Fault { place: place.clone(), reason })?;
            if of_seed.kind() != subject.kind() {
                let reason = format!("`{}` and `{name}` hold different kinds of values", subject.name());
                return Err(Fault { place, reason });
            }
            return Ok(Operand::Seed(of_seed));
        }
        match subject.kind() {
            ColumnKind::Text => Ok(Operand::Text(text)),
            ColumnKind::Number => number(&text).map(Operand::Number).ok_or_else(|| {
                let reason = format!("`{}` holds numbers, and `{}` is not one", subject.name(), excerpt(&text));
                Fault { place, reason }
            }),
        }
    }

    /// A range such as `90..110`, `90..` or `..110`.
    fn range(&mut self, subject: Subject) -> Result<Expression, Fault> {
        let place = self.place();
        if subject.kind() == ColumnKind::Text {
            let reason = format!("`{}` holds texts, and a range is of numbers", subject.name());
            return Err(Fault { place, reason });
        }
        let from = self.bound();
        if !self.sign("..") {
            return Err(self.fault("expected a range such as 90..110, or a list in parentheses"));
        }
        let to = self.bound();
        let place = place.start..self.tokens[self.at - 1].place.end;
        match (from, to) {
            (None, None) => Err(Fault { place, reason: "expected a number before or after `..`".into() }),
            (Some(from), Some(to)) if from > to => {
                Err(Fault { place, reason: format!("the range from {from} to {to} is empty: {from} is larger") })
            }
            (from, to) => Ok(Expression::Range(subject, from, to)),
        }
    }

    /// An end of a range, if a number is next.
    fn bound(&mut self) -> Option<f64> {
        let Some(Token::Word(word)) = self.peek() else { return None };
        let bound = number(word)?;
        self.at += 1;
        Some(bound)
    }
}

/// A number, or minutes and seconds such as `3:20`.
fn number(text: &str) -> Option<f64> {
    let number = match text.split_once(':') {
        Some((minutes, seconds)) => {
            let (minutes, seconds): (u32, f64) = (minutes.parse().ok()?, seconds.parse().ok()?);
            (0.0..60.0).contains(&seconds).then(|| f64::from(minutes) * 60.0 + seconds)?
        }
        None => text.parse().ok()?,
    };
    number.is_finite().then_some(number)
}

/// A tree of low depth over `items`, however many there are.
fn balanced(mut items: Vec<Expression>, join: fn(Box<Expression>, Box<Expression>) -> Expression) -> Expression {
    while items.len() > 1 {
        let mut rest = items.into_iter();
        let mut joined = Vec::with_capacity(rest.len().div_ceil(2));
        while let Some(first) = rest.next() {
            joined.push(match rest.next() {
                Some(second) => join(Box::new(first), Box::new(second)),
                None => first,
            });
        }
        items = joined;
    }
    // `any` and `all` begin with an item.
    items.swap_remove(0)
}
