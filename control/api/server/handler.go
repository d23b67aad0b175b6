package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/edgeio/edgeio/control/api"
)

// Bounds of requests and streams.
const (
	maxBody      = 1 << 20          // of a request, bytes
	bodyTimeout  = 30 * time.Second // for the whole body to arrive
	writeTimeout = 30 * time.Second // for a reader to take one piece of an answer
	heartbeat    = 15 * time.Second // between signs of life on a silent stream of events
)

// Options are what the handler needs besides its backend.
type Options struct {
	Version string // of the program
	Tier    string // root or cluster
	Name    string // of the orchestrator
	Log     *slog.Logger
}

// Handler serves the API below api.Prefix, and /healthz. Every request needs a
// token, except /healthz. It speaks any HTTP; that it is reached by TLS only is
// up to the caller (see Serve).
func Handler(b Backend, o Options) http.Handler {
	s := &service{Backend: b, Options: o}
	mux := http.NewServeMux()
	s.register(newHuma(mux, o.Version))
	mux.HandleFunc("GET "+api.Prefix+"/healthz", health)
	mux.HandleFunc("GET /healthz", health)
	return s.protect(s.authenticated(problemsFor(mux)))
}

// service is the handlers' receiver.
type service struct {
	Backend
	Options
}

// newHuma makes the router and the empty description.
func newHuma(mux *http.ServeMux, version string) huma.API {
	conf := huma.Config{
		OpenAPI:                      describe(version),
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{asProblem},
	}
	return humago.NewWithPrefix(mux, api.Prefix, conf)
}

// register declares all operations.
func (s *service) register(h huma.API) {
	s.registerJobs(h)
	s.registerStreams(h)
	s.registerExec(h)
	s.registerFleet(h)
	s.registerTokens(h)
	s.registerMeta(h)
	finish(h.OpenAPI())
}

func health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // whoever asks may be gone
}
