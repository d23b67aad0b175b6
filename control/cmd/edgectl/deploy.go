package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/control/api"
	"github.com/edgeio/edgeio/proto/job"
)

func (p *program) deployCommand() *cli.Command {
	return &cli.Command{
		Name: "deploy", Usage: "deploy a job", ArgsUsage: "FILE|-",
		Description: `FILE is a job file, YAML or JSON; - reads it from standard input. The job's id
is printed. Without --wait that is all: the server takes care of the rest.

   edgectl deploy hello.yaml
   edgectl deploy --wait --timeout 2m hello.yaml
   edgectl deploy --wait=COMPLETED batch.yaml

With --wait, the exit code is 1 if the job comes to an end, or nobody can take
it, before it is in the state that is waited for; the reasons are shown. The job
stays deployed.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "wait", Usage: "wait until the job is in `STATE`; --wait alone means RUNNING"},
			&cli.DurationFlag{Name: "timeout", Usage: "give up waiting after `DURATION` (like 90s); 0: never"},
			&cli.StringFlag{Name: "idempotency-key", Usage: "deploy only if no job was deployed with this `KEY` yet"},
			outputFlag(),
		},
		Action: p.with(p.deploy),
	}
}

func (p *program) deploy(c *cli.Context, cl *api.Client) error {
	machine, err := asJSON(c)
	if err != nil {
		return err
	}
	want := job.State(strings.ToUpper(c.String("wait")))
	if want != "" && !want.Valid() {
		return badInput("--wait=%s: want one of %v", want, job.States)
	}
	name, err := one(c, "job file")
	if err != nil {
		return err
	}
	file, err := p.readFile(name)
	if err != nil {
		return err
	}
	key := c.String("idempotency-key")
	if key == "" {
		key = rand.Text() // a request that is sent again after a lost answer must not deploy twice
	}
	j, err := cl.Deploy(c.Context, file, key)
	if err != nil {
		return inFile(name, err)
	}
	if !machine {
		fmt.Fprintln(p.stdout, j.ID)
	}
	if want != "" {
		j, err = p.await(c.Context, cl, j.ID, reached(want), c.Duration("timeout"), p.stderr)
	}
	if machine {
		if serr := p.show(c, j, nil); serr != nil {
			return serr
		}
	}
	return err
}

// readFile reads a job file; - is standard input.
func (p *program) readFile(name string) ([]byte, error) {
	in := p.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, badInput("read job file: %v", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, job.MaxFileSize+1))
	if err != nil {
		return nil, badInput("read job file %s: %v", name, err)
	}
	if len(b) > job.MaxFileSize {
		return nil, badInput("job file %s is larger than %d MiB; what a job needs beyond its description belongs in its image", name, job.MaxFileSize>>20)
	}
	return b, nil
}

// inFile puts the name of the job file in front of each fault in it, in the
// form that editors understand.
func inFile(name string, err error) error {
	var p *api.Problem
	if !errors.As(err, &p) || len(p.Errors) == 0 || p.Errors[0].Line == 0 {
		return err
	}
	lines := []string{name + " has faults"}
	for _, d := range p.Errors {
		lines = append(lines, name+":"+d.String())
	}
	return codeError{exitBadInput, strings.Join(lines, "\n")}
}

func (p *program) validateCommand() *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "check a job file without deploying it", ArgsUsage: "FILE|-",
		Description: `Needs no server. All faults are shown, each as FILE:LINE:COLUMN: what is wrong.
The exit code is 0 if there are none, else 2.

   edgectl validate hello.yaml`,
		Action: func(c *cli.Context) error {
			name, err := one(c, "job file")
			if err != nil {
				return err
			}
			file, err := p.readFile(name)
			if err != nil {
				return err
			}
			_, err = job.Parse(file)
			var invalid *job.InvalidError
			if errors.As(err, &invalid) {
				invalid.Source = name
				fmt.Fprintln(p.stderr, invalid.Error())
				return codeError{code: exitBadInput}
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "%s is good\n", name)
			return nil
		},
	}
}

// looksLikeFile tells a job file from the name of a job.
func looksLikeFile(arg string) bool {
	switch strings.ToLower(filepath.Ext(arg)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return arg == "-" || strings.ContainsRune(arg, '/') || strings.ContainsRune(arg, filepath.Separator)
}
