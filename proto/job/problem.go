package job

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a job.
type Problem struct {
	Line    int    `json:"line,omitempty"`   // from 1; 0 for a job that was not read from a file
	Column  int    `json:"column,omitempty"` // in characters, from 1
	Field   string `json:"field,omitempty"`  // path such as "ports[1].protocol"; empty: the file as a whole
	Message string `json:"message"`          // what is wrong, and what is wanted
}

// String is "3:1: image: missing; …", with as much of it as there is.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", p.Line, p.Column)
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// InvalidError says all that is wrong with a job. Parse, Validate and nothing
// else return it.
type InvalidError struct {
	Source   string    // name of the file, set by who knows it; only for Error
	Problems []Problem // by position; at most 51
}

// Error has one line per problem, in the form that editors understand:
// "file.yaml:3:1: image: missing; …".
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
		if e.Source == "" {
			continue
		}
		if p.Line == 0 {
			lines[i] = " " + lines[i]
		}
		lines[i] = e.Source + ":" + lines[i]
	}
	return strings.Join(lines, "\n")
}

// invalid makes an error of problems, nil if there are none.
func invalid(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if more := len(problems) - maxProblems; more > 0 {
		last := problems[maxProblems]
		last.Field, last.Message = "", fmt.Sprintf("and %d more problems from here on", more)
		problems = append(problems[:maxProblems:maxProblems], last)
	}
	return &InvalidError{Problems: problems}
}

// quote shows a piece of somebody's text, shortened.
func quote(s string) string { return strconv.Quote(clip(s)) }

// clip shortens s to what fits a message.
func clip(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s[:min(len(s), utf8.UTFMax*most)])[:most]) + "…"
}

// unknown is the message for a value that is none of known.
func unknown(value string, known []string) string {
	return fmt.Sprintf("%s is unknown; want one of %s%s", quote(value), strings.Join(known, ", "), didYouMean(value, known))
}
