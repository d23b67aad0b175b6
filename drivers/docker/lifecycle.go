package docker

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

// Start implements drivers.Driver.
func (d *Driver) Start(ctx context.Context, h drivers.Handle) error {
	const op = "start"
	id, err := d.containerOf(op, h)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ChangeTimeout)
	defer cancel()
	if _, err := d.api.Load().ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return d.fail(ctx, op, h.ID, err)
	}
	return nil
}

// Stop implements drivers.Driver. It signals and waits by itself: the API's
// own stop takes no signal before version 1.42, and whole seconds only.
func (d *Driver) Stop(ctx context.Context, h drivers.Handle, o drivers.StopOptions) error {
	const op = "stop"
	id, err := d.containerOf(op, h)
	if err != nil {
		return err
	}
	defer d.markStopping(id)()
	sub := d.events.subscribe(id)
	defer d.events.unsubscribe(sub)

	signal := o.Signal
	if signal == "" {
		signal = "SIGTERM"
	}
	if o.Grace > 0 {
		ended, err := d.kill(ctx, op, h.ID, id, signal)
		if ended || err != nil {
			return err
		}
		graceCtx, cancel := context.WithTimeout(ctx, o.Grace)
		ended, err = d.awaitEnd(graceCtx, op, h, sub)
		cancel()
		if ended || ctx.Err() != nil || err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		d.log.Info("did not end in its grace time", "instance", h.ID, "signal", signal, "grace", o.Grace)
	}
	if ended, err := d.kill(ctx, op, h.ID, id, "SIGKILL"); ended || err != nil {
		return err
	}
	endCtx, cancel := context.WithTimeout(ctx, d.cfg.ChangeTimeout)
	defer cancel()
	_, err = d.awaitEnd(endCtx, op, h, sub)
	return err
}

// kill sends a signal; ended is true if there is nothing to send it to.
func (d *Driver) kill(ctx context.Context, op, instance, id, signal string) (ended bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ChangeTimeout)
	defer cancel()
	api := d.api.Load()
	_, err = api.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal})
	if err != nil && strings.Contains(err.Error(), "is paused") {
		if _, err = api.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{}); err == nil {
			_, err = api.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal})
		}
	}
	switch {
	case err == nil:
		return false, nil
	case errdefs.IsNotFound(err), errdefs.IsConflict(err) && strings.Contains(err.Error(), "not running"):
		return true, nil
	case strings.Contains(strings.ToLower(err.Error()), "invalid signal"):
		return false, drivers.Errorf(drivers.ErrInvalid, op, instance, "signal %q: not a signal's name", signal)
	}
	return false, d.fail(ctx, op, instance, err)
}

// awaitEnd waits until a container is not running, or gone.
func (d *Driver) awaitEnd(ctx context.Context, op string, h drivers.Handle, sub *subscription) (bool, error) {
	for {
		c, err := d.inspect(ctx, op, h)
		switch {
		case errors.Is(err, drivers.ErrNotFound):
			return true, nil
		case err == nil && !isRunning(c.State):
			return true, nil
		case err != nil && (ctx.Err() != nil || !errors.Is(err, drivers.ErrUnavailable)):
			return false, err
		}
		if err := sub.next(ctx, err != nil); err != nil {
			return false, d.fail(ctx, op, h.ID, err)
		}
	}
}

// markStopping notes that the end of a container is our doing, until the returned function is called.
func (d *Driver) markStopping(id string) func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopping[id]++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.stopping[id]--; d.stopping[id] == 0 {
			delete(d.stopping, id)
		}
	}
}

func (d *Driver) isStopping(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping[id] > 0
}

// Remove implements drivers.Driver.
func (d *Driver) Remove(ctx context.Context, h drivers.Handle) error {
	const op = "remove"
	id, err := d.containerOf(op, h)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ChangeTimeout)
	defer cancel()
	_, err = d.api.Load().ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: true})
	switch {
	case err == nil, errdefs.IsNotFound(err):
	case strings.Contains(err.Error(), "is already in progress"):
		// Somebody else's removal; it is done when the name is free.
		if err := d.awaitGone(ctx, op, h); err != nil {
			return err
		}
	default:
		return d.fail(ctx, op, h.ID, err)
	}
	d.mu.Lock()
	delete(d.lost, id)
	d.mu.Unlock()
	return nil
}

func (d *Driver) awaitGone(ctx context.Context, op string, h drivers.Handle) error {
	id, err := d.containerOf(op, h)
	if err != nil {
		return err
	}
	sub := d.events.subscribe(id)
	defer d.events.unsubscribe(sub)
	for {
		_, err := d.api.Load().ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if errdefs.IsNotFound(err) {
			return nil
		}
		if err := sub.next(ctx, true); err != nil {
			return d.fail(ctx, op, h.ID, err)
		}
	}
}

// Status implements drivers.Driver.
func (d *Driver) Status(ctx context.Context, h drivers.Handle) (drivers.Status, error) {
	c, err := d.inspect(ctx, "status", h)
	if err != nil {
		return drivers.Status{}, err
	}
	st := drivers.Status{
		Phase:     phaseOf(c.State),
		StartedAt: apiTime(c.State.StartedAt),
		Ports:     portsOf(c),
	}
	switch st.Phase {
	case drivers.PhaseRunning:
		st.PID = c.State.Pid
		st.Address = addressOf(c)
	case drivers.PhaseExited:
		st.Exit = d.exitOf(c)
	}
	return st, nil
}

func isRunning(s *container.State) bool { return s.Running || s.Paused || s.Restarting }

func phaseOf(s *container.State) drivers.Phase {
	switch {
	case isRunning(s):
		return drivers.PhaseRunning
	case apiTime(s.StartedAt).IsZero():
		return drivers.PhaseCreated
	}
	return drivers.PhaseExited
}

// apiTime reads the daemon's times; the year 1 means never.
func apiTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}

// portsOf joins what the job asked for, from the label, with the host ports
// that the daemon has chosen.
func portsOf(c container.InspectResponse) []drivers.Port {
	var ports []drivers.Port
	if err := json.Unmarshal([]byte(c.Config.Labels[labelPorts]), &ports); err != nil {
		return nil
	}
	if c.NetworkSettings == nil {
		return ports
	}
	used := map[network.Port]int{}
	for i, p := range ports {
		port, ok := network.PortFrom(p.Port, network.IPProtocol(p.Protocol))
		if !ok || p.HostPort != 0 {
			continue
		}
		// The daemon binds IPv4 and IPv6; nodes are reached by the former.
		var hosts []uint16
		for _, b := range c.NetworkSettings.Ports[port] {
			n, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err == nil && !b.HostIP.Is6() {
				hosts = append(hosts, uint16(n))
			}
		}
		if k := used[port]; k < len(hosts) {
			ports[i].HostPort = hosts[k]
			used[port]++
		}
	}
	return ports
}

func addressOf(c container.InspectResponse) string {
	if c.NetworkSettings == nil {
		return ""
	}
	for _, n := range c.NetworkSettings.Networks {
		if n != nil && n.IPAddress.IsValid() {
			return n.IPAddress.String()
		}
	}
	return ""
}
