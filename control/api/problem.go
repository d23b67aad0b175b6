package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// The classes of errors of the API. Errors of a backend wrap one of them, and
// errors of the Client are of one, so that errors.Is works at both ends.
var (
	ErrInvalid         = errors.New("invalid")           // the request makes no sense, or the job file is wrong
	ErrUnauthenticated = errors.New("not authenticated") // no token, or not a good one
	ErrDenied          = errors.New("not allowed")
	ErrNotFound        = errors.New("not found")
	ErrConflict        = errors.New("conflict") // as things are now, it cannot be done
	ErrTooLarge        = errors.New("too large")
	ErrExhausted       = errors.New("exhausted")      // too much asked for
	ErrUnsupported     = errors.New("not supported")  // the runtime or this release cannot do it
	ErrUnavailable     = errors.New("unavailable")    // not now; trying again may help
	ErrInternal        = errors.New("internal error") // a fault of the server
)

// problemTypes is the one table of what the classes are in HTTP. The types are
// stable: programs may compare them.
var problemTypes = []struct {
	class  error
	status int
	uri    string
}{
	{ErrInvalid, http.StatusUnprocessableEntity, "urn:edgeio:problem:invalid"},
	{ErrUnauthenticated, http.StatusUnauthorized, "urn:edgeio:problem:unauthenticated"},
	{ErrDenied, http.StatusForbidden, "urn:edgeio:problem:denied"},
	{ErrNotFound, http.StatusNotFound, "urn:edgeio:problem:not-found"},
	{ErrConflict, http.StatusConflict, "urn:edgeio:problem:conflict"},
	{ErrTooLarge, http.StatusRequestEntityTooLarge, "urn:edgeio:problem:too-large"},
	{ErrExhausted, http.StatusTooManyRequests, "urn:edgeio:problem:exhausted"},
	{ErrUnsupported, http.StatusNotImplemented, "urn:edgeio:problem:unsupported"},
	{ErrUnavailable, http.StatusServiceUnavailable, "urn:edgeio:problem:unavailable"},
	{ErrInternal, http.StatusInternalServerError, "urn:edgeio:problem:internal"},
}

// Problem is an error of the API as it travels: problem details by RFC 9457.
type Problem struct {
	Type   string          `json:"type" doc:"Stable name of the kind of problem"`
	Title  string          `json:"title" doc:"The kind of problem, in words"`
	Status int             `json:"status" doc:"The HTTP status"`
	Detail string          `json:"detail,omitempty" doc:"What is wrong, where, and what to do"`
	Errors []ProblemDetail `json:"errors,omitempty" doc:"Each thing that is wrong with the request"`
}

// ProblemDetail is one thing that is wrong with a request.
type ProblemDetail struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty" doc:"Which field or parameter"`
	Line     int    `json:"line,omitempty" doc:"In the job file, from 1"`
	Column   int    `json:"column,omitempty" doc:"In the job file, from 1"`
}

// NewProblem makes a problem of the class that err wraps, or of ErrInternal.
// Its detail is the text of err, less the name of the class if it begins with that.
func NewProblem(err error) *Problem {
	t := problemTypes[len(problemTypes)-1]
	for _, pt := range problemTypes {
		if errors.Is(err, pt.class) {
			t = pt
			break
		}
	}
	detail := strings.TrimPrefix(err.Error(), t.class.Error()+": ")
	return &Problem{Type: t.uri, Title: t.class.Error(), Status: t.status, Detail: detail}
}

// Error is the detail, or the title if there is none, and what is in Errors.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Detail)
	if p.Detail == "" {
		b.WriteString(p.Title)
	}
	for _, d := range p.Errors {
		b.WriteString("\n  ")
		b.WriteString(d.String())
	}
	return b.String()
}

// Unwrap is the class, by the type if it is known, else by the status.
func (p *Problem) Unwrap() error {
	for _, pt := range problemTypes {
		if pt.uri == p.Type {
			return pt.class
		}
	}
	for _, pt := range problemTypes {
		if pt.status == p.Status {
			return pt.class
		}
	}
	switch {
	case p.Status == http.StatusBadGateway || p.Status == http.StatusGatewayTimeout:
		return ErrUnavailable
	case p.Status >= 400 && p.Status < 500:
		return ErrInvalid
	}
	return ErrInternal
}

// String is "3:1: image: missing; …", with as much of it as there is.
func (d ProblemDetail) String() string {
	s := d.Message
	if d.Location != "" {
		s = d.Location + ": " + s
	}
	if d.Line > 0 {
		s = fmt.Sprintf("%d:%d: %s", d.Line, d.Column, s)
	}
	return s
}
