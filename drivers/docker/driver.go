// Package docker runs workloads as containers of a Docker daemon, or of Podman
// through the same API.
//
// It owns the containers that carry its agent's label and nothing else on the
// daemon, except that it fetches images. All it has to find again is in the
// labels of those containers and in their handles; the daemon is asked, never
// remembered. It never restarts a container by itself and never decides
// whether one should run: that is the agent's.
package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

var (
	_ drivers.Driver      = (*Driver)(nil)
	_ drivers.Execer      = (*Driver)(nil)
	_ drivers.StatsReader = (*Driver)(nil)
	_ drivers.Watcher     = (*Driver)(nil)
)

// The labels of a container. Those of the Spec are put beside them.
const (
	labelAgent      = "io.edgeio.agent"
	labelInstance   = "io.edgeio.instance"
	labelGeneration = "io.edgeio.generation"
	labelJob        = "io.edgeio.job"
	labelPorts      = "io.edgeio.ports" // Spec.Ports, JSON: the daemon has no names for ports
)

// handleVersion is the version of handleData's format.
const handleVersion = 1

type handleData struct {
	Container string `json:"container"` // full id
}

var containerIDForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Driver implements drivers.Driver on the Docker Engine API. It is safe for
// concurrent use. It holds no connection and runs no goroutine but during calls.
type Driver struct {
	cfg    Config
	log    *slog.Logger
	auth   *authStore
	events *eventHub

	api        atomic.Pointer[client.Client]
	negotiated atomic.Value // string: the API version that the daemon offered to Probe; empty before the first

	mu       sync.Mutex
	arch     string               // the daemon's; asked for once
	stopping map[string]int       // containers that a Stop of ours is ending
	lost     map[string]time.Time // containers the daemon's end took down, with the time of that end
}

// New returns a driver for the daemon that cfg names. The daemon need not be
// there yet: Probe tells. The error is about cfg.
func New(cfg Config, log *slog.Logger) (*Driver, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Driver{
		cfg:      cfg,
		log:      log.With("driver", cfg.Name),
		auth:     &authStore{configured: cfg.Registries, file: cfg.AuthFile},
		stopping: map[string]int{},
		lost:     map[string]time.Time{},
	}
	d.negotiated.Store("")
	if err := d.renewClient(""); err != nil {
		return nil, err
	}
	d.events = newEventHub(d)
	return d, nil
}

// renewClient replaces the API client; a client settles on a version of the
// API once, and after an upgrade of the daemon that may be the wrong one.
func (d *Driver) renewClient(offered string) error {
	c, err := client.New(client.WithHost(d.cfg.Host), client.WithUserAgent("edgeio"), client.WithTLSClientConfigFromEnv())
	if err != nil {
		return fmt.Errorf("docker driver: host %s: %w", d.cfg.Host, err)
	}
	d.negotiated.Store(offered)
	if old := d.api.Swap(c); old != nil {
		_ = old.Close()
	}
	return nil
}

// Close gives back idle connections. Containers go on; calls in flight too.
func (d *Driver) Close() error { return d.api.Load().Close() }

// List implements drivers.Driver.
func (d *Driver) List(ctx context.Context) ([]drivers.Handle, error) {
	const op = "list"
	ctx, cancel := context.WithTimeout(ctx, d.cfg.QueryTimeout)
	defer cancel()
	list, err := d.api.Load().ContainerList(ctx, client.ContainerListOptions{
		All:     true,
		Filters: make(client.Filters).Add("label", labelAgent+"="+d.cfg.AgentID),
	})
	if err != nil {
		return nil, d.fail(ctx, op, "", err)
	}
	handles := make([]drivers.Handle, 0, len(list.Items))
	for _, c := range list.Items {
		if h, ok := d.handleOf(c.ID, c.Labels); ok && c.State != container.StateRemoving {
			handles = append(handles, h)
		}
	}
	return handles, nil
}

// containerName is the name of the container of one generation of an instance.
func containerName(id string, generation uint64) string {
	return "edgeio-" + id + "-" + strconv.FormatUint(generation, 10)
}

// handleOf makes the handle of a container from its labels; false if it is not ours.
func (d *Driver) handleOf(containerID string, labels map[string]string) (drivers.Handle, bool) {
	generation, err := strconv.ParseUint(labels[labelGeneration], 10, 64)
	if err != nil || labels[labelAgent] != d.cfg.AgentID || labels[labelInstance] == "" {
		return drivers.Handle{}, false
	}
	data, err := json.Marshal(handleData{Container: containerID})
	if err != nil {
		return drivers.Handle{}, false
	}
	return drivers.Handle{
		Driver: d.cfg.Name, Version: handleVersion,
		ID: labels[labelInstance], Generation: generation, Data: data,
	}, true
}

// containerOf returns the id of the container that a handle names.
func (d *Driver) containerOf(op string, h drivers.Handle) (string, error) {
	var data handleData
	switch {
	case h.Driver != d.cfg.Name:
		return "", drivers.Errorf(drivers.ErrInvalid, op, h.ID, "the handle is of driver %q, not %q", h.Driver, d.cfg.Name)
	case h.Version != handleVersion:
		return "", drivers.Errorf(drivers.ErrInvalid, op, h.ID, "the handle has format version %d, known is %d", h.Version, handleVersion)
	}
	if err := json.Unmarshal(h.Data, &data); err != nil {
		return "", drivers.Errorf(drivers.ErrInvalid, op, h.ID, "the handle's data: %w", err)
	}
	if !containerIDForm.MatchString(data.Container) {
		return "", drivers.Errorf(drivers.ErrInvalid, op, h.ID, "the handle names no container: %q", data.Container)
	}
	return data.Container, nil
}

// inspect asks for a container of ours.
func (d *Driver) inspect(ctx context.Context, op string, h drivers.Handle) (container.InspectResponse, error) {
	id, err := d.containerOf(op, h)
	if err != nil {
		return container.InspectResponse{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.QueryTimeout)
	defer cancel()
	res, err := d.api.Load().ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return container.InspectResponse{}, d.fail(ctx, op, h.ID, err)
	}
	c := res.Container
	if c.State == nil || c.Config == nil || c.Config.Labels[labelAgent] != d.cfg.AgentID {
		return container.InspectResponse{}, drivers.Errorf(drivers.ErrNotFound, op, h.ID, "container %.12s is not of this agent", id)
	}
	if c.State.Status == container.StateRemoving {
		return container.InspectResponse{}, drivers.Errorf(drivers.ErrNotFound, op, h.ID, "container %.12s is being removed", id)
	}
	return c, nil
}

// bootTime tells when the daemon's machine was started; zero if that is
// another machine or unknown. Source: btime of /proc/stat, in seconds.
func (d *Driver) bootTime() time.Time {
	if d.cfg.socketPath() == "" {
		return time.Time{}
	}
	stat, err := os.ReadFile(filepath.Join(d.cfg.ProcRoot, "stat"))
	if err != nil {
		return time.Time{}
	}
	for line := range strings.Lines(string(stat)) {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			if sec, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64); err == nil {
				return time.Unix(sec, 0)
			}
		}
	}
	return time.Time{}
}
