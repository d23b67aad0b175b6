package job

import (
	"errors"
	"fmt"
	"strings"
)

// words splits a command line as a POSIX shell does: blanks separate, quotes
// and backslashes keep together. What only a shell could do is refused where
// it is not quoted, since nobody would do it.
func words(line string) ([]string, error) {
	var (
		out    []string
		word   strings.Builder
		inWord bool
	)
	flush := func() {
		if inWord {
			out = append(out, word.String())
			word.Reset()
			inWord = false
		}
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			flush()
			continue
		case strings.IndexByte("|&;<>`$", c) >= 0:
			return nil, fmt.Errorf("no shell runs this, so %q would not do what it does there; put it in quotes if it is meant as it stands, or write [sh, -c, \"...\"]", c)
		case c == '\'' || c == '"':
			n, err := quoted(&word, line[i:])
			if err != nil {
				return nil, err
			}
			i += n - 1
		case c == '\\':
			if i++; i == len(line) {
				return nil, errors.New(`a backslash at the end stands for nothing; write it as \\`)
			}
			if line[i] == '\n' {
				continue
			}
			word.WriteByte(line[i])
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	flush()
	return out, nil
}

// quoted reads the quoted text that s begins with, and returns its length with
// both quotes. Variables in double quotes stay as they are: they are most often
// meant for the shell in [sh, -c, "..."].
func quoted(word *strings.Builder, s string) (int, error) {
	q := s[0]
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == q:
			return i + 1, nil
		case q == '"' && s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"\\$`\n", s[i+1]) >= 0:
			if i++; s[i] != '\n' {
				word.WriteByte(s[i])
			}
		default:
			word.WriteByte(s[i])
		}
	}
	return 0, fmt.Errorf("the quote %c is never closed", q)
}
