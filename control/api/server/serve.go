package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// shutdownTimeout is for requests that are under way when the server stops.
const shutdownTimeout = 5 * time.Second

// Serve answers requests with h on l until ctx ends; then it ends the streams,
// lets other requests finish for a short while and returns nil once all are
// done. It closes l. Without a TLS configuration it speaks plain HTTP, which
// is for tests.
func Serve(ctx context.Context, l net.Listener, conf *tls.Config, h http.Handler, log *slog.Logger) error {
	stopping, stop := context.WithCancel(context.Background())
	defer stop()
	var busy sync.WaitGroup // counts handlers that have taken over their connection, too
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			busy.Add(1)
			defer busy.Done()
			h.ServeHTTP(w, r)
		}),
		TLSConfig:         conf,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // mostly scanners that fail the handshake
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), stoppingKey{}, stopping)
		},
	}
	served := make(chan error, 1)
	go func() {
		if conf == nil {
			served <- srv.Serve(l)
			return
		}
		served <- srv.ServeTLS(l, "", "")
	}()
	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("serve API on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop()
	grace, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		_ = srv.Close() // cancels what is still under way
	}
	if err == nil {
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
			err = fmt.Errorf("serve API on %s: %w", l.Addr(), serr)
		}
	}
	busy.Wait()
	return err
}
