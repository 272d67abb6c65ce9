//! A command line cut into words and operators.

/// What is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// A command line.
    Commands,
    /// A file of options, where operators and `$` mean nothing.
    Options,
}

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Letters, and whether they stood in quotes.
    Text(String, bool),
    /// A variable's name, and whether it stood in double quotes.
    Variable(String, bool),
    /// What only a running shell can tell: a substitution, with its inner text.
    Opaque(String),
}

impl Piece {
    /// As it is written.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Text(text, _) => text.clone(),
            Self::Variable(name, _) => format!("${name}"),
            Self::Opaque(text) => format!("$({text})"),
        }
    }
}

/// A word or an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, part by part.
    Word(Vec<Piece>),
    /// Ends a call.
    End,
    /// Ends a call whose output the next one reads: both run in shells of their own.
    Pipe,
    /// Begins a shell of its own.
    Open,
    /// Ends it.
    Close,
    /// The next word is a file's name.
    Redirect,
}

/// Cuts a text into words and operators.
pub(super) fn tokens(text: &str, reads: Reads) -> Vec<Token> {
    let mut lexer = Lexer { letters: text.chars().collect(), at: 0, word: None, tokens: Vec::new(), reads };
    lexer.run();
    lexer.tokens
}

struct Lexer {
    letters: Vec<char>,
    at: usize,
    word: Option<Vec<Piece>>,
    tokens: Vec<Token>,
    reads: Reads,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(letter)
    }

    fn text(&mut self, letter: char, quoted: bool) {
        let pieces = self.word.get_or_insert_default();
        match pieces.last_mut() {
            Some(Piece::Text(text, same)) if *same == quoted => text.push(letter),
            _ => pieces.push(Piece::Text(letter.to_string(), quoted)),
        }
    }

    fn end_word(&mut self) {
        self.tokens.extend(self.word.take().map(Token::Word));
    }

    fn operator(&mut self, token: Token) {
        self.end_word();
        self.tokens.push(token);
    }

    fn run(&mut self) {
        while let Some(letter) = self.next() {
            match letter {
                '\'' => self.single_quotes(),
                '"' => self.double_quotes(),
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(next) => self.text(next, true),
                },
                _ if self.reads == Reads::Options => {
                    if letter.is_whitespace() {
                        self.end_word();
                    } else {
                        self.text(letter, false);
                    }
                }
                '\n' => self.operator(Token::End),
                _ if letter.is_whitespace() => self.end_word(),
                '#' if self.word.is_none() => {
                    while self.peek().is_some_and(|letter| letter != '\n') {
                        self.at += 1;
                    }
                }
                ';' => self.operator(Token::End),
                '&' if self.peek() == Some('>') => {
                    self.at += 1;
                    self.redirect();
                }
                '&' => {
                    if self.peek() == Some('&') {
                        self.at += 1;
                    }
                    self.operator(Token::End);
                }
                '|' => {
                    let is_or = self.peek() == Some('|');
                    if is_or || self.peek() == Some('&') {
                        self.at += 1;
                    }
                    self.operator(if is_or { Token::End } else { Token::Pipe });
                }
                '(' => self.operator(Token::Open),
                ')' => self.operator(Token::Close),
                '>' | '<' => self.redirect(),
                '`' => self.backquotes(),
                '$' => self.dollar(false),
                _ => self.text(letter, false),
            }
        }
        self.end_word();
    }

    /// Behind `>`, `>>`, `2>`, `>&1`, `<<<` and the like.
    fn redirect(&mut self) {
        // A number in front names the stream.
        let is_stream = |pieces: &Vec<Piece>| matches!(&pieces[..], [Piece::Text(text, false)] if text.chars().all(|one| one.is_ascii_digit()));
        if self.word.as_ref().is_some_and(is_stream) {
            self.word = None;
        }
        self.end_word();
        while self.peek().is_some_and(|letter| matches!(letter, '>' | '<' | '&' | '|')) {
            self.at += 1;
        }
        self.tokens.push(Token::Redirect);
    }

    fn single_quotes(&mut self) {
        self.word.get_or_insert_default().push(Piece::Text(String::new(), true));
        while let Some(letter) = self.next().filter(|&letter| letter != '\'') {
            self.text(letter, true);
        }
    }

    fn double_quotes(&mut self) {
        self.word.get_or_insert_default().push(Piece::Text(String::new(), true));
        while let Some(letter) = self.next().filter(|&letter| letter != '"') {
            match letter {
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(next @ ('"' | '\\' | '$' | '`')) => self.text(next, true),
                    Some(next) if self.reads == Reads::Options => self.text(next, true),
                    Some(next) => {
                        self.text('\\', true);
                        self.text(next, true);
                    }
                },
                '`' if self.reads == Reads::Commands => self.backquotes(),
                '$' if self.reads == Reads::Commands => self.dollar(true),
                _ => self.text(letter, true),
            }
        }
    }

    fn backquotes(&mut self) {
        let mut inner = String::new();
        while let Some(letter) = self.next().filter(|&letter| letter != '`') {
            inner.push(letter);
        }
        self.word.get_or_insert_default().push(Piece::Opaque(inner));
    }

    /// Behind a `$`: a variable, a substitution, or the letter itself.
    fn dollar(&mut self, quoted: bool) {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let inner = self.up_to_closing('(', ')');
                self.word.get_or_insert_default().push(Piece::Opaque(inner));
            }
            Some('{') => {
                self.at += 1;
                let inner = self.up_to_closing('{', '}');
                self.word.get_or_insert_default().push(Piece::Variable(inner, quoted));
            }
            Some('\'') if !quoted => {
                self.at += 1;
                self.single_quotes();
            }
            Some(letter) if letter.is_ascii_alphabetic() || letter == '_' => {
                let mut name = String::new();
                while let Some(letter) = self.peek().filter(|one| one.is_ascii_alphanumeric() || *one == '_')
                {
                    self.at += 1;
                    name.push(letter);
                }
                self.word.get_or_insert_default().push(Piece::Variable(name, quoted));
            }
            Some(letter @ ('@' | '*' | '?' | '$' | '!' | '0'..='9')) => {
                self.at += 1;
                self.word.get_or_insert_default().push(Piece::Variable(letter.to_string(), quoted));
            }
            _ => self.text('$', quoted),
        }
    }

    fn up_to_closing(&mut self, open: char, close: char) -> String {
        let mut inner = String::new();
        let mut depth = 1;
        while let Some(letter) = self.next() {
            depth += i32::from(letter == open) - i32::from(letter == close);
            if depth == 0 {
                break;
            }
            inner.push(letter);
        }
        inner
    }
}
