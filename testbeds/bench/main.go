// Command bench measures how good edgeIO is on this machine and prints the
// figures beside their targets. It measures the real programs as processes of
// their own, on loopback, and what it compares with on the same machine at the
// same time. It asserts nothing: a figure that misses its target is for people
// to judge, who know what else the machine was doing.
//
// It needs the programs (make build) and, for the part about Docker, a daemon
// and the image named by EDGEIO_TEST_IMAGE (testbeds/setup); "make bench" has
// both. It leaves nothing behind.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// bench is what all measurements use.
type bench struct {
	bin      string        // folder of the programs
	idle     time.Duration // how long idle programs are watched
	progress io.Writer
}

// measurement yields figures that are best taken together.
type measurement struct {
	name, about string
	measure     func(context.Context, *bench) ([]figure, error)
}

// The order: what needs a quiet machine first.
func measurements() []measurement {
	return []measurement{
		{"idle", "memory, CPU and traffic of programs with nothing to do", measureIdle},
		{"native", "native jobs one after the other", measureNative},
		{"hundred", "100 native jobs at once, the memory of their shims, and their adoption", measureHundred},
		{"docker", "Docker jobs one after the other, beside the Docker API", measureDocker},
		{"fifty", "50 Docker jobs at once, beside the Docker API", measureFifty},
		{"size", "size of the agent's program", measureSize},
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(progress)
	var names []string
	usage := "only these `NAMES`, with commas between:"
	for _, m := range measurements() {
		names = append(names, m.name)
		usage += fmt.Sprintf("\n%-8s %s", m.name, m.about)
	}
	only := flags.String("only", "", usage)
	report := flags.String("json", "", "write the figures to this `FILE` as well")
	bin := flags.String("bin", "bin", "`FOLDER` of the programs")
	idle := flags.Duration("idle", time.Minute, "how long idle programs are watched")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *only != "" {
		names = strings.Split(*only, ",")
	}
	folder, err := filepath.Abs(*bin)
	if err != nil {
		return err
	}
	figures, err := (&bench{bin: folder, idle: *idle, progress: progress}).take(ctx, names)
	if len(figures) == 0 {
		return err
	}
	printTable(out, figures)
	if *report != "" {
		err = errors.Join(err, writeJSON(*report, figures))
	}
	return err
}

func writeJSON(path string, figures []figure) error {
	b, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return fmt.Errorf("encode figures: %w", err)
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// take takes the measurements of these names, in the usual order. One that
// does not work out does not keep the others from being taken.
func (b *bench) take(ctx context.Context, names []string) ([]figure, error) {
	all := measurements()
	var errs []error
	for _, name := range names {
		if !slices.ContainsFunc(all, func(m measurement) bool { return m.name == name }) {
			return nil, fmt.Errorf("there is no measurement %q; see -help", name)
		}
	}
	var figures []figure
	for _, m := range all {
		if !slices.Contains(names, m.name) {
			continue
		}
		fmt.Fprintf(b.progress, "bench: %s: %s (load %s, %d cores)\n", m.name, m.about, loadAverage(), runtime.NumCPU())
		got, err := m.measure(ctx, b)
		figures = append(figures, got...)
		var skip *skipped
		switch {
		case errors.As(err, &skip):
			figures = append(figures, figure{Name: m.name, Note: "not measured: " + skip.reason})
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", m.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return figures, errors.Join(errs...)
}

// skipped says that a measurement is not possible here.
type skipped struct{ reason string }

func (s *skipped) Error() string { return s.reason }
