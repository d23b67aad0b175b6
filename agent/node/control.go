package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/edgeio/edgeio/agent/store"
	"github.com/edgeio/edgeio/agent/workload"
)

// controlFile is the socket in the state directory by which commands on the
// node ask the agent that runs. Only the agent's user may open it.
const controlFile = "agent.sock"

// Status is what the agent says of itself.
type Status struct {
	Node      string    `json:"node"`
	Name      string    `json:"name"`
	Version   string    `json:"version"`
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since,omitzero"`
	Address   string    `json:"address,omitempty"` // of the parent
	Error     string    `json:"error,omitempty"`   // why it is not connected
}

// socketPath reaches a socket in dir by a path that is short enough for
// sun_path, however long the name of dir is.
func socketPath(dir string) (path string, free func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), controlFile), func() { _ = d.Close() }, nil
}

// listenControl is called with the store locked, so that a socket that is
// there is a dead one.
func listenControl(dir string) (net.Listener, error) {
	if err := os.Remove(filepath.Join(dir, controlFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	path, free, err := socketPath(dir)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	defer free()
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	// The path leads through a descriptor that is closed by then.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(filepath.Join(dir, controlFile), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return l, nil
}

func (n *Node) serveControl(ctx context.Context, l net.Listener) error {
	left := make(chan struct{}, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /workloads", func(w http.ResponseWriter, _ *http.Request) { reply(w, n.supervisor.Instances()) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { reply(w, n.status()) })
	mux.HandleFunc("POST /leave", func(w http.ResponseWriter, r *http.Request) {
		err := n.uplink.Leave(r.Context(), leaveReason)
		if err == nil {
			err = forget(n.cfg.StateDir, n.identity)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		left <- struct{}{}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	var result error
	select {
	case <-ctx.Done():
	case <-left:
		result = errLeft
	case err := <-served:
		return fmt.Errorf("control socket: %w", err)
	}
	closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = srv.Shutdown(closeCtx)
	<-served
	_ = os.Remove(filepath.Join(n.cfg.StateDir, controlFile))
	return result
}

func (n *Node) status() Status {
	l := n.uplink.State()
	st := Status{
		Node: n.identity.Peer().ID, Name: n.cfg.Name, Version: n.version,
		Connected: l.Connected, Since: l.Since, Address: l.Address,
	}
	if l.LastError != nil && !l.Connected {
		st.Error = l.LastError.Error()
	}
	return st
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// The caller is gone if this does not work.
	_ = json.NewEncoder(w).Encode(v)
}

// Control asks the agent that runs with a state directory.
type Control struct {
	dir    string
	client *http.Client
}

// DialControl connects with the first question, not before.
func DialControl(stateDir string) *Control {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		path, free, err := socketPath(stateDir)
		if err != nil {
			return nil, err
		}
		defer free()
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Control{dir: stateDir, client: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Workloads returns the instances of the node. If the agent does not run, they
// are read from its store.
func (c *Control) Workloads(ctx context.Context) ([]workload.Instance, error) {
	for tries := 0; ; tries++ {
		var all []workload.Instance
		running, err := c.ask(ctx, http.MethodGet, "/workloads", &all)
		if running || err != nil {
			return all, err
		}
		s, err := store.OpenReadOnly(c.dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case errors.Is(err, store.ErrInUse) && tries < startTries:
			// The agent is just starting: it has the store, and will listen.
			// Opening has waited for a moment already.
			continue
		case err != nil:
			return nil, err
		}
		all, err = s.Load()
		return all, errors.Join(err, s.Close())
	}
}

// startTries is how often an agent that has the store but does not listen yet
// is asked again.
const startTries = 6

// Status returns what the agent says of itself; running is false if none runs.
func (c *Control) Status(ctx context.Context) (st Status, running bool, err error) {
	running, err = c.ask(ctx, http.MethodGet, "/status", &st)
	return st, running, err
}

// Leave has the agent leave its cluster and end; running is false if none runs.
func (c *Control) Leave(ctx context.Context) (running bool, err error) {
	return c.ask(ctx, http.MethodPost, "/leave", nil)
}

// ask reports running as false, without an error, if no agent listens.
func (c *Control) ask(ctx context.Context, method, path string, out any) (running bool, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, nil)
	if err != nil {
		return false, err
	}
	resp, err := c.client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask the agent: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		msg, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return true, fmt.Errorf("the agent answers: %s", bytes.TrimSpace(msg))
	}
	if out == nil {
		return true, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return true, fmt.Errorf("ask the agent: %w", err)
	}
	return true, nil
}
