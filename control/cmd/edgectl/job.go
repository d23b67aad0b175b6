package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

func (p *program) jobCommand() *cli.Command {
	return &cli.Command{
		Name: "job", Aliases: []string{"jobs"}, Usage: "look after jobs", Action: group,
		Description: `JOB is a job's id, its name if only one has it, or the beginning of its id.`,
		Subcommands: []*cli.Command{
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list jobs",
				Description: `Jobs that were terminated are left out, unless asked for by --all or --state.`,
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "state", Usage: "only jobs in `STATE`; may be repeated"},
					&cli.StringFlag{Name: "name", Usage: "only jobs called `NAME`"},
					&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "jobs that were terminated, too"},
					outputFlag(),
				},
				Action: p.with(p.jobLs),
			},
			{
				Name: "show", Usage: "show a job with its history", ArgsUsage: "JOB", Flags: []cli.Flag{outputFlag()},
				Action: p.with(p.jobShow),
			},
			{
				Name: "explain", Usage: "show which nodes would take a job now, and why the others would not", ArgsUsage: "JOB|FILE",
				Description: `With a file, nothing is deployed.

   edgectl job explain hello
   edgectl job explain hello.yaml`,
				Flags:  []cli.Flag{outputFlag()},
				Action: p.with(p.jobExplain),
			},
			p.logsCommand(), p.execCommand(), p.jobEventsCommand(),
			{
				Name: "terminate", Aliases: []string{"rm"}, Usage: "end a job", ArgsUsage: "JOB",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "wait", Usage: "wait until it has ended"},
					&cli.DurationFlag{Name: "timeout", Usage: "give up waiting after `DURATION`; 0: never"},
					outputFlag(),
				},
				Action: p.with(p.jobTerminate),
			},
		},
	}
}

func (p *program) jobLs(c *cli.Context, cl *api.Client) error {
	if err := none(c); err != nil {
		return err
	}
	q := api.JobQuery{Name: c.String("name")}
	for _, s := range c.StringSlice("state") {
		q.States = append(q.States, job.State(strings.ToUpper(s)))
	}
	jobs, err := cl.Jobs(c.Context, q)
	if err != nil {
		return err
	}
	if !c.Bool("all") && len(q.States) == 0 {
		jobs = slices.DeleteFunc(jobs, func(j api.Job) bool { return j.State == job.Terminated })
	}
	return p.show(c, jobs, func(w io.Writer) {
		t := newTable(w, "ID", "NAME", "STATE", "PLACE", "RUNTIME", "CHANGED", "REASON")
		for _, j := range jobs {
			where, why := "", ""
			if len(j.Instances) > 0 {
				where = place(j.Instances[0])
				why = j.Instances[0].Reason
			}
			t.row(j.ID, j.Name, string(j.State), where, j.Spec.Runtime, p.ago(j.UpdatedAt), shorten(why))
		}
		t.flush()
	})
}

// shorten keeps a reason from filling the screen.
func shorten(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func (p *program) jobShow(c *cli.Context, cl *api.Client) error {
	ref, err := one(c, "job")
	if err != nil {
		return err
	}
	j, err := cl.Job(c.Context, ref)
	if err != nil {
		return err
	}
	return p.show(c, j, func(w io.Writer) {
		t := newTable(w)
		t.row("id", j.ID)
		t.row("name", j.Name)
		t.row("state", string(j.State))
		t.row("wanted", string(j.Desired))
		t.row("image", j.Spec.Image+" ("+j.Spec.Runtime+")")
		t.row("owner", j.Owner)
		t.row("deployed", p.ago(j.CreatedAt))
		t.flush()
		for _, in := range j.Instances {
			p.showInstance(w, j, in)
		}
	})
}

func (p *program) showInstance(w io.Writer, j api.Job, in api.Instance) {
	fmt.Fprintf(w, "\ninstance %d\n", in.Index)
	t := newTable(w)
	t.row("  id", in.ID)
	t.row("  state", string(in.State))
	t.row("  place", place(in))
	t.row("  restarts", fmt.Sprint(in.Restarts))
	if in.Exit != nil {
		t.row("  ended", exitText(*in.Exit))
	}
	if in.Progress != nil {
		t.row("  now", bar(*in.Progress))
	}
	for _, e := range in.Endpoints {
		for _, a := range e.Addresses {
			t.row("  port "+endpointName(e), fmt.Sprintf("%s %s:%d", e.Protocol, a, e.HostPort))
		}
	}
	t.flush()
	fmt.Fprintln(w, "  history")
	for _, ch := range in.History {
		fmt.Fprintln(w, "    "+change(j, in, ch))
	}
	if len(in.Rejections) > 0 {
		fmt.Fprintln(w, "  nobody takes it")
		rejections(w, in.Rejections, "    ")
	}
}

func endpointName(e api.Endpoint) string {
	if e.Name != "" {
		return e.Name
	}
	return fmt.Sprint(e.Port)
}

func exitText(e api.Exit) string {
	switch {
	case e.OOMKilled:
		return fmt.Sprintf("exit code %d: it needed more memory than its limit", e.Code)
	case e.Lost:
		return "while nobody watched; the exit code is not known"
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

func (p *program) jobExplain(c *cli.Context, cl *api.Client) error {
	arg, err := one(c, "job or job file")
	if err != nil {
		return err
	}
	var e api.Explanation
	if looksLikeFile(arg) {
		var file []byte
		if file, err = p.readFile(arg); err != nil {
			return err
		}
		e, err = cl.ExplainFile(c.Context, file)
		err = inFile(arg, err)
	} else {
		e, err = cl.Explain(c.Context, arg)
	}
	if err != nil {
		return err
	}
	return p.show(c, e, func(w io.Writer) {
		switch {
		case e.State == job.Running:
			fmt.Fprintln(w, "The job runs. As things are now,")
		case e.State != "":
			fmt.Fprintf(w, "The job is %s. As things are now,\n", e.State)
		}
		if len(e.Accepting) == 0 {
			fmt.Fprintln(w, "nobody takes it:")
		} else {
			fmt.Fprintln(w, clean("taken by: "+strings.Join(e.Accepting, ", ")))
		}
		rejections(w, e.Rejections, "  ")
	})
}

func (p *program) jobTerminate(c *cli.Context, cl *api.Client) error {
	ref, err := one(c, "job")
	if err != nil {
		return err
	}
	j, err := cl.Terminate(c.Context, ref)
	if err != nil {
		return err
	}
	if c.Bool("wait") {
		if j, err = p.await(c.Context, cl, j.ID, ended, c.Duration("timeout"), p.stderr); err != nil {
			return err
		}
	}
	return p.show(c, j, func(w io.Writer) { fmt.Fprintln(w, j.ID) })
}

func (p *program) logsCommand() *cli.Command {
	return &cli.Command{
		Name: "logs", Usage: "show what a job writes", ArgsUsage: "JOB",
		Description: `What the job wrote to its standard error goes to standard error.

   edgectl job logs -f hello
   edgectl job logs --tail 20 --since 10m hello`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the job ends"},
			&cli.IntFlag{Name: "tail", Aliases: []string{"n"}, Value: -1, Usage: "only the last `N` lines; -1: all"},
			&cli.StringFlag{Name: "since", Usage: "only what is newer than `TIME`: 10m, or 2026-01-31T15:04:05Z"},
			&cli.BoolFlag{Name: "timestamps", Aliases: []string{"t"}, Usage: "put the time in front of each line"},
			&cli.StringFlag{Name: "instance", Usage: "which `INSTANCE`, if there are several: its id or index"},
			outputFlag(),
		},
		Action: p.with(p.jobLogs),
	}
}

func (p *program) jobLogs(c *cli.Context, cl *api.Client) error {
	machine, err := asJSON(c)
	if err != nil {
		return err
	}
	ref, err := one(c, "job")
	if err != nil {
		return err
	}
	q := api.LogQuery{Instance: c.String("instance"), Follow: c.Bool("follow"), Tail: max(c.Int("tail"), -1)}
	if q.Since, err = p.since(c.String("since")); err != nil {
		return err
	}
	return cl.Logs(c.Context, ref, q, func(e api.LogEntry) error {
		if machine {
			return p.showLine(e)
		}
		w := p.stdout
		if e.Stream == "stderr" {
			w = p.stderr
		}
		data := e.Data
		if c.Bool("timestamps") {
			data = append([]byte(e.Time.UTC().Format(time.RFC3339Nano)+" "), data...)
		}
		_, err := w.Write(data)
		return err
	})
}

// since is a time, or how long ago.
func (p *program) since(v string) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(v); err == nil && d >= 0 {
		return p.now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return t, badInput("--since %s: want a time like 2026-01-31T15:04:05Z, or how long ago, like 10m", v)
	}
	return t, nil
}
