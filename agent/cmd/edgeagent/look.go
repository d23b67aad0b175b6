package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

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
			Flags: append(settings(), outputFlag()),
			Action: func(c *cli.Context) error {
				cfg, err := load(c)
				if err != nil {
					return err
				}
				all := newDrivers(cfg, "drivers-list", nil, slog.New(slog.DiscardHandler))
				infos := probe(c.Context, all)
				return errors.Join(show(c, infos, func(w io.Writer) { driverTable(w, infos) }), closeDrivers(all))
			},
		}},
	}
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

func driverTable(w io.Writer, infos []drivers.Info) {
	_, _ = fmt.Fprintln(w, "DRIVER\tUSABLE\tVERSION\tFEATURES\tREASON")
	for _, i := range infos {
		usable, reason := "yes", orDash(i.Reason) // what it cannot do all the same
		if !i.Usable {
			usable, reason = "no", i.Reason
			if i.Remedy != "" {
				reason += "; " + i.Remedy
			}
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
