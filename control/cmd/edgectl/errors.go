package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/edgeio/edgeio/control/api"
)

// The exit codes that scripts may rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitBadInput    = 2
	exitNotFound    = 3
	exitUnreachable = 4
	exitNotAllowed  = 5
)

// codeError ends edgectl with a code of its own. Its text may be empty: then
// all has been said.
type codeError struct {
	code int
	text string
}

func (e codeError) Error() string { return e.text }

func badInput(format string, args ...any) error {
	return codeError{exitBadInput, fmt.Sprintf(format, args...)}
}

func failed(format string, args ...any) error {
	return codeError{exitFailed, fmt.Sprintf(format, args...)}
}

// exitCode is the one mapping of errors to exit codes.
func exitCode(err error) int {
	var ce codeError
	switch {
	case errors.As(err, &ce):
		return ce.code
	case errors.Is(err, api.ErrInvalid), errors.Is(err, api.ErrTooLarge):
		return exitBadInput
	case errors.Is(err, api.ErrNotFound):
		return exitNotFound
	case errors.Is(err, api.ErrUnavailable):
		return exitUnreachable
	case errors.Is(err, api.ErrUnauthenticated), errors.Is(err, api.ErrDenied):
		return exitNotAllowed
	}
	return exitFailed
}

// explain says what is wrong, and what to do about it where that is known.
func explain(err error) string {
	text := err.Error()
	var p *api.Problem
	answered := errors.As(err, &p)
	switch {
	case answered && errors.Is(err, api.ErrUnauthenticated):
		return text + "\nRun edgectl login with a good token, or set EDGECTL_TOKEN."
	case !answered && errors.Is(err, api.ErrUnavailable):
		return "the server does not answer: " + strings.TrimPrefix(text, api.ErrUnavailable.Error()+": ") +
			"\nIs the address right (edgectl login, --address, EDGECTL_ADDRESS), and does the server run?"
	}
	return strings.TrimPrefix(text, api.ErrInvalid.Error()+": ")
}
