package server_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/control/api/apitest"
	"github.com/edgeio/edgeio/control/api/server"
)

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := server.Handler(apitest.New().Backend(), server.Options{Log: quiet()})
		ctx, cancel := context.WithCancel(t.Context())
		req := httptest.NewRequestWithContext(ctx, "GET", api.Prefix+"/events", nil)
		req.Header.Set("Authorization", "Bearer "+apitest.Token)
		rec := httptest.NewRecorder()
		done := make(chan struct{})
		go func() { defer close(done); h.ServeHTTP(rec, req) }()
		time.Sleep(50 * time.Second) // of the bubble's clock
		cancel()
		<-done
		if got := rec.Body.String(); strings.Count(got, ":\n\n") != 3 || !rec.Flushed {
			t.Errorf("want three signs of life in 50 s, flushed (%v):\n%s", rec.Flushed, got)
		}
	})
}
