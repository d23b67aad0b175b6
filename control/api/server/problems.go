package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

// problem makes an api.Problem an answer of huma's.
type problem struct{ *api.Problem }

var (
	_ huma.StatusError       = problem{}
	_ huma.ContentTypeFilter = problem{}
)

// GetStatus is the HTTP status.
func (p problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457.
func (p problem) ContentType(string) string { return "application/problem+json" }

// fail makes the answer to a request of an error of the backend. An error
// without a class is a fault of ours: it is logged, and the user is told no details.
func (s *service) fail(ctx context.Context, err error) error {
	return problem{s.problemOf(ctx, err)}
}

func (s *service) problemOf(ctx context.Context, err error) *api.Problem {
	var invalid *job.InvalidError
	if errors.As(err, &invalid) {
		return invalidJob(invalid)
	}
	var p *api.Problem
	if errors.As(err, &p) {
		return p
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = errors.Join(api.ErrUnavailable, err)
	}
	p = api.NewProblem(classed(err))
	if p.Status == http.StatusInternalServerError && ctx.Err() == nil {
		s.Log.Error("request failed", "err", err)
		p.Detail = "the server could not do this through a fault of its own; its log says more"
	}
	return p
}

// invalidJob is the problem with a job file that has faults.
func invalidJob(e *job.InvalidError) *api.Problem {
	p := api.NewProblem(api.ErrInvalid)
	p.Detail = "the job file has faults"
	for _, f := range e.Problems {
		p.Errors = append(p.Errors, api.ProblemDetail{Message: f.Message, Location: f.Field, Line: f.Line, Column: f.Column})
	}
	return p
}

// asProblem turns the errors that huma makes itself into ours.
func asProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &api.Problem{Status: m.Status}
	p = api.NewProblem(p) // by the class of the status
	p.Status, p.Detail = m.Status, m.Detail
	for _, e := range m.Errors {
		if e != nil {
			p.Errors = append(p.Errors, api.ProblemDetail{Message: e.Message, Location: e.Location})
		}
	}
	return p, nil
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, p *api.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // whoever asked may be gone
}

// problemsFor gives a mux's own answers, not found and wrong method, the form
// of all others.
func problemsFor(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r) // sets the path values, which h alone does not
			return
		}
		probe := &statusOnly{header: http.Header{}}
		h.ServeHTTP(probe, r)
		p := api.NewProblem(api.ErrNotFound)
		p.Detail = "there is nothing at " + r.URL.Path
		if probe.status == http.StatusMethodNotAllowed {
			allow := probe.header.Get("Allow")
			w.Header().Set("Allow", allow)
			p = api.NewProblem(api.ErrInvalid)
			p.Status, p.Detail = probe.status, "this method is not possible here; allowed: "+allow
		}
		writeProblem(w, p)
	})
}

// statusOnly is a response of which only the head counts.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
