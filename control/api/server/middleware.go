package server

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/edgeio/edgeio/control/api"
)

// protect is the outermost layer: it bounds what a request may cost, logs it,
// and turns a panic into an error.
func (s *service) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		sw := &statusWriter{ResponseWriter: w}
		// Not all writers have deadlines; those of net/http do.
		_ = http.NewResponseController(w).SetWriteDeadline(begin.Add(bodyTimeout + writeTimeout))
		// The body is bounded by each operation. To wrap it here would keep net/http
		// from closing the connection when a part of it was not read.
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		defer func() {
			if v := recover(); v != nil {
				s.recovered(sw, r, v)
			}
			// The path has no secrets; headers and query are left out.
			s.Log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", sw.status,
				"duration", time.Since(begin), "remote", r.RemoteAddr)
		}()
		next.ServeHTTP(sw, r)
	})
}

func (s *service) recovered(w *statusWriter, r *http.Request, v any) {
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v) // net/http closes the connection, which is what is wanted
	}
	s.Log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler) // too late for an answer: let the client see that it broke off
	}
	p := api.NewProblem(api.ErrInternal)
	p.Detail = "the server could not do this through a fault of its own; its log says more"
	writeProblem(w, p)
}

// statusWriter notes the status of the answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

type identityKey struct{}

// identity is who makes the request of ctx.
func identity(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}

// authenticated lets nobody pass without a token, but for the health check.
func (s *service) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == api.Prefix+"/healthz" {
			next.ServeHTTP(w, r)
			return
		}
		id, err := s.identify(r)
		if err != nil {
			p := s.problemOf(r.Context(), err)
			if errors.Is(p, api.ErrUnauthenticated) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="edgeIO"`)
			}
			writeProblem(w, p)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, id)))
	})
}

func (s *service) identify(r *http.Request) (Identity, error) {
	const hint = `send "Authorization: Bearer TOKEN"; an administrator makes tokens with edgectl token create --api NAME`
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return Identity{}, classError{api.ErrUnauthenticated, "a token is needed: " + hint}
	}
	id, err := s.Auth.Authenticate(r.Context(), token)
	switch {
	case errors.Is(classed(err), api.ErrUnauthenticated):
		// What is wrong with it is nobody's business who cannot show a good one.
		return Identity{}, classError{api.ErrUnauthenticated, "the token is not good, or no longer: " + hint}
	case err != nil:
		return Identity{}, err
	case id.Role != api.RoleAdmin:
		return Identity{}, classError{api.ErrDenied, "role " + id.Role + " may not use this API"}
	}
	return id, nil
}
