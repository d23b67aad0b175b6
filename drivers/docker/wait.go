package docker

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/edgeio/edgeio/drivers"
)

// unknownExitCode is what the daemon writes down for a container whose end it did not see.
const unknownExitCode = 255

// Wait implements drivers.Driver. All waiters share one stream of events; a
// daemon that goes away is not taken for the end of the container.
func (d *Driver) Wait(ctx context.Context, h drivers.Handle) (drivers.Exit, error) {
	const op = "wait"
	id, err := d.containerOf(op, h)
	if err != nil {
		return drivers.Exit{}, err
	}
	sub := d.events.subscribe(id)
	defer d.events.unsubscribe(sub)

	var run time.Time // when the run that is waited for was started
	outages := 0
	for {
		c, err := d.inspect(ctx, op, h)
		switch {
		case err == nil:
			started := apiTime(c.State.StartedAt)
			switch {
			case started.IsZero() && !isRunning(c.State):
				return drivers.Exit{}, drivers.Errorf(drivers.ErrConflict, op, h.ID, "it was never started")
			case run.IsZero():
				run, outages = started, sub.outageCount()
			case !started.Equal(run):
				return sub.lastDeath(run), nil
			}
			if !isRunning(c.State) {
				return d.endOf(ctx, c, sub, outages), nil
			}
		case ctx.Err() != nil || !errors.Is(err, drivers.ErrUnavailable):
			return drivers.Exit{}, err
		}
		if err := sub.next(ctx, err != nil); err != nil {
			return drivers.Exit{}, d.fail(ctx, op, h.ID, err)
		}
	}
}

// endOf says how the run ended that a Wait saw running before. A daemon that
// shuts down ends its containers first, unless it is set to let them live; that
// is the runtime's end and not the workload's.
func (d *Driver) endOf(ctx context.Context, c container.InspectResponse, sub *subscription, outages int) drivers.Exit {
	away := sub.outageCount() != outages || sub.wasKilled() && !d.accepts(ctx)
	if away && !d.isStopping(c.ID) && !d.livesOn(ctx) {
		d.mu.Lock()
		d.lost[c.ID] = apiTime(c.State.FinishedAt)
		d.mu.Unlock()
	}
	return d.exitOf(c)
}

// accepts tells whether the daemon takes new connections. One that shuts down
// closes its socket before it ends its containers.
func (d *Driver) accepts(ctx context.Context) bool {
	conn, err := d.dial(ctx)
	if err != nil {
		return !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOENT)
	}
	_ = conn.Close()
	return true
}

func (d *Driver) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ProbeTimeout)
	defer cancel()
	if path := d.cfg.socketPath(); path != "" {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	u, err := url.Parse(d.cfg.Host)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, "tcp", u.Host)
}

// livesOn tells whether containers live on while the daemon is away.
func (d *Driver) livesOn(ctx context.Context) bool {
	if d.cfg.Name == "podman" {
		return true // its service is not their parent
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ProbeTimeout)
	defer cancel()
	info, err := d.api.Load().Info(ctx, client.InfoOptions{})
	return err == nil && info.Info.LiveRestoreEnabled
}

// exitOf says how the last run of a container ended.
func (d *Driver) exitOf(c container.InspectResponse) drivers.Exit {
	d.mu.Lock()
	lostAt, lost := d.lost[c.ID]
	d.mu.Unlock()
	finished := apiTime(c.State.FinishedAt)
	if lost && lostAt.Equal(finished) {
		return lostExit(finished, "the "+d.cfg.Name+" daemon was stopped, and ended it")
	}
	return exitOf(c.State, d.bootTime())
}

// exitOf is the part that the daemon's record alone tells. boot is when the
// machine started; zero if unknown.
func exitOf(s *container.State, boot time.Time) drivers.Exit {
	started, finished := apiTime(s.StartedAt), apiTime(s.FinishedAt)
	// FinishedAt of a run that nobody saw end is when the daemon found out. On a
	// machine without a clock of its own that may seem to be before the boot.
	rebooted := started.Before(boot) && (finished.After(boot) || s.ExitCode == unknownExitCode)
	switch {
	case s.Dead:
		return lostExit(finished, "the daemon could not remove it")
	case rebooted:
		return lostExit(finished, "the machine was restarted")
	case finished.IsZero():
		return lostExit(finished, "its end was not seen")
	}
	return drivers.Exit{Code: s.ExitCode, OOMKilled: s.OOMKilled, Reason: s.Error, At: finished}
}

func lostExit(at time.Time, why string) drivers.Exit {
	return drivers.Exit{Code: -1, Lost: true, Reason: why, At: at}
}

// deathExit makes an Exit of an event, for a run whose record is overwritten by the next.
func deathExit(code string, at time.Time) drivers.Exit {
	n, err := strconv.Atoi(code)
	if err != nil {
		return lostExit(at, "its exit code was not seen")
	}
	return drivers.Exit{Code: n, At: at}
}
