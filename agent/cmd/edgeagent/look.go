package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/agent/doctor"
	"github.com/edgeio/edgeio/agent/node"
	"github.com/edgeio/edgeio/agent/workload"
	"github.com/edgeio/edgeio/drivers"
)

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "table or json", Value: "table"}
}

// show prints v as JSON or what table writes.
func show(c *cli.Context, v any, table func(w io.Writer)) error {
	switch o := c.String("output"); o {
	case "json":
		enc := json.NewEncoder(c.App.Writer)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case "table":
		w := tabwriter.NewWriter(c.App.Writer, 0, 8, 2, ' ', 0)
		table(w)
		return w.Flush()
	default:
		return usage("--output %q: want table or json", o)
	}
}

// probeTimeout is for each driver when a person waits.
const probeTimeout = 5 * time.Second

func driversCommand() *cli.Command {
	return &cli.Command{
		Name: "drivers", Usage: "look at the runtimes of this machine",
		Subcommands: []*cli.Command{{
			Name: "list", Aliases: []string{"ls"}, Usage: "list all drivers, usable or not, and what to do about those that are not",
			Description: "Works without a running agent. With --check it starts a tiny workload in each\nusable driver and removes it; it exits with 1 if one of them fails.",
			Flags: append(settings(), outputFlag(),
				&cli.BoolFlag{Name: "check", Usage: "start and remove a tiny workload in each usable driver"}),
			Action: listDrivers,
		}},
	}
}

func listDrivers(c *cli.Context) (err error) {
	cfg, err := load(c)
	if err != nil {
		return err
	}
	if c.Bool("check") {
		// What is tried must not get in the way of an agent that runs.
		dir, err := os.MkdirTemp("", "edgeagent-check-")
		if err != nil {
			return fmt.Errorf("make a folder for trials: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := os.Chmod(dir, 0o711); err != nil { // a job's user must be able to pass
			return fmt.Errorf("make a folder for trials: %w", err)
		}
		cfg.StateDir = dir
	}
	all := newDrivers(cfg, "drivers-list", nil, slog.New(slog.DiscardHandler))
	defer func() { err = errors.Join(err, closeDrivers(all)) }()
	infos := probe(c.Context, all)
	rows := make([]driverRow, len(infos))
	var failed error
	for i, info := range infos {
		rows[i].Info = info
		if c.Bool("check") && info.Usable {
			rows[i].Check = "ok"
			err := doctor.Try(c.Context, all[info.Name])
			if err != nil {
				rows[i].Check = err.Error()
			}
			if err != nil && !errors.Is(err, doctor.ErrNoTrial) {
				failed = errors.Join(failed, fmt.Errorf("check of %s: %w", info.Name, err))
			}
		}
	}
	return errors.Join(show(c, rows, func(w io.Writer) { driverTable(w, rows) }), failed)
}

// driverRow is a line of "drivers list".
type driverRow struct {
	drivers.Info
	Check string `json:"check,omitempty"` // "ok", or why the trial failed or was not made; only with --check
}

// probe asks all drivers at once. The result is ordered by name.
func probe(ctx context.Context, all map[string]drivers.Driver) []drivers.Info {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	names := slices.Sorted(maps.Keys(all))
	infos := make([]drivers.Info, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			infos[i] = all[name].Probe(ctx)
			infos[i].Name = name
			if infos[i].Features == nil {
				infos[i].Features = []drivers.Feature{}
			}
		})
	}
	wg.Wait()
	return infos
}

func driverTable(w io.Writer, rows []driverRow) {
	_, _ = fmt.Fprintln(w, "DRIVER\tUSABLE\tVERSION\tFEATURES\tREASON")
	for _, i := range rows {
		usable, reason := "yes", orDash(i.Reason) // what it cannot do all the same
		if !i.Usable {
			usable, reason = "no", i.Reason
			if i.Remedy != "" {
				reason += "; " + i.Remedy
			}
		}
		if i.Check != "" {
			reason = "check: " + i.Check
		}
		features := make([]string, len(i.Features))
		for k, f := range i.Features {
			features[k] = string(f)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", i.Name, usable, orDash(i.Version), orDash(strings.Join(features, ",")), reason)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func workloadsCommand() *cli.Command {
	return &cli.Command{
		Name: "workloads", Usage: "list what this node has been assigned",
		Flags: append(settings(), outputFlag()),
		Action: func(c *cli.Context) error {
			cfg, err := load(c)
			if err != nil {
				return err
			}
			all, err := node.DialControl(cfg.StateDir).Workloads(c.Context)
			if err != nil {
				return err
			}
			if all == nil {
				all = []workload.Instance{}
			}
			return show(c, all, func(w io.Writer) { workloadTable(w, all) })
		},
	}
}

func workloadTable(w io.Writer, all []workload.Instance) {
	_, _ = fmt.Fprintln(w, "INSTANCE\tJOB\tRUNTIME\tSTATE\tRESTARTS\tSINCE")
	for _, in := range all {
		since := "-"
		if !in.StartedAt.IsZero() {
			since = in.StartedAt.Local().Format(time.DateTime)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", in.ID, in.Job.Name, in.Job.Runtime, in.State, in.Restarts, since)
	}
}
