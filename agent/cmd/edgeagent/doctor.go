package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/edgeio/edgeio/agent/config"
	"github.com/edgeio/edgeio/agent/doctor"
	"github.com/edgeio/edgeio/agent/node"
	"github.com/edgeio/edgeio/capabilities"
	"github.com/edgeio/edgeio/drivers"
	"github.com/edgeio/edgeio/proto/identity"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "check all that this node needs, and say what to do about what it lacks",
		Description: "Exits with 1 if something is wrong that keeps the node from its work.",
		Flags:       append(settings(), outputFlag()),
		Action: func(c *cli.Context) error {
			cfg, err := load(c)
			if err != nil {
				return err
			}
			subject, err := examined(c.Context, cfg)
			if err != nil {
				return err
			}
			findings := doctor.Examine(c.Context, subject)
			if err := show(c, findings, func(w io.Writer) { findingTable(w, findings) }); err != nil {
				return err
			}
			if doctor.Worst(findings) == doctor.Fail {
				return errors.New("this node cannot do its work yet; see what is marked \"fail\"")
			}
			return nil
		},
	}
}

// examined collects what the doctor looks at. It makes nothing: a node that
// has not joined has no identity after it either.
func examined(ctx context.Context, cfg config.Config) (doctor.Subject, error) {
	s := doctor.Subject{Config: cfg, Now: time.Now(), Root: os.Geteuid() == 0, State: writable(cfg.StateDir)}
	host := capabilities.Host{StateDir: existing(cfg.StateDir)}
	s.Report = capabilities.Discover(ctx, host)
	var err error
	if s.Drivers, err = examinedDrivers(ctx, cfg); err != nil {
		return s, err
	}
	if s.Parents, err = node.Parents(cfg); err != nil && !errors.Is(err, fs.ErrPermission) {
		return s, err
	}
	s.TLS = identity.EnrolTLS(identity.Pin{}, identity.TLSOptions{})
	if _, err := os.Stat(filepath.Join(cfg.StateDir, "identity")); err != nil {
		return s, nil // not joined, or not ours to see; the state directory's finding tells
	}
	id, err := node.OpenIdentity(cfg.StateDir)
	if errors.Is(err, fs.ErrPermission) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if id.Enrolled() {
		s.Leaf, s.TLS = id.Leaf(), id.ClientTLS(identity.TLSOptions{})
	}
	return s, nil
}

// examinedDrivers probes the drivers. Some make their folder when they are set
// up; before there is a state directory they get another one for it.
func examinedDrivers(ctx context.Context, cfg config.Config) ([]drivers.Info, error) {
	if _, err := os.Stat(cfg.StateDir); err != nil {
		dir, err := os.MkdirTemp("", "edgeagent-doctor-")
		if err != nil {
			return nil, fmt.Errorf("examine the runtimes: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // a left-over in the folder for those harms nobody
		cfg.StateDir = dir
	}
	return probe(ctx, newDrivers(cfg, "doctor", nil, slog.New(slog.DiscardHandler))), nil
}

// existing returns a folder, or the nearest above it that is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// writable tells whether a folder can be written to, or made.
func writable(dir string) error {
	at := existing(dir)
	if err := unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write to %s: %w", at, err)
	}
	return nil
}

func findingTable(w io.Writer, findings []doctor.Finding) {
	for _, f := range findings {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", f.Level, f.Check, f.Detail)
		if f.Remedy != "" && f.Level != doctor.OK {
			_, _ = fmt.Fprintf(w, "\t\t→ %s\n", f.Remedy)
		}
	}
}
