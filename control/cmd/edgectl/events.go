package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/control/api"
)

func followFlag(usage string) cli.Flag {
	return &cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: usage}
}

func (p *program) eventsCommand() *cli.Command {
	return &cli.Command{
		Name: "events", Usage: "show what happens to all jobs",
		Description: `Without -f, what is kept of the past. With -f, what happens from now on; with
--after as well, first what has happened since.`,
		Flags: []cli.Flag{
			followFlag("show events as they happen"),
			&cli.Uint64Flag{Name: "after", Usage: "only events after `REVISION`"},
			outputFlag(),
		},
		Action: p.with(func(c *cli.Context, cl *api.Client) error {
			if err := none(c); err != nil {
				return err
			}
			follow := c.Bool("follow")
			return p.events(c, cl, api.EventQuery{After: c.Uint64("after"), NewOnly: follow && !c.IsSet("after"), Follow: follow})
		}),
	}
}

func (p *program) jobEventsCommand() *cli.Command {
	return &cli.Command{
		Name: "events", Usage: "show what has happened to a job", ArgsUsage: "JOB",
		Flags: []cli.Flag{
			followFlag("go on with what happens from now on"),
			&cli.Uint64Flag{Name: "after", Usage: "only events after `REVISION`"},
			outputFlag(),
		},
		Action: p.with(func(c *cli.Context, cl *api.Client) error {
			ref, err := one(c, "job")
			if err != nil {
				return err
			}
			return p.events(c, cl, api.EventQuery{Job: ref, After: c.Uint64("after"), Follow: c.Bool("follow")})
		}),
	}
}

// events prints a line per event as it comes.
func (p *program) events(c *cli.Context, cl *api.Client, q api.EventQuery) error {
	machine, err := asJSON(c)
	if err != nil {
		return err
	}
	return cl.Events(c.Context, q, func(ev api.Event) error {
		if machine {
			return p.showLine(ev)
		}
		where := ev.Cluster
		if where != "" && ev.Node != "" {
			where += "/"
		}
		line := fmt.Sprintf("%s  %-20s  %-17s  %-20s  %s", ev.Time.Local().Format(time.DateTime), ev.JobName, ev.State, where+ev.Node, ev.Reason)
		_, err := fmt.Fprintln(p.stdout, strings.TrimRight(clean(line), " "))
		return err
	})
}
