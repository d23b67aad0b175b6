package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/edgeio/edgeio/control/api"
)

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "`FORMAT`: table or json"}
}

// asJSON reports whether the user wants JSON.
func asJSON(c *cli.Context) (bool, error) {
	switch f := c.String("output"); f {
	case "table":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, badInput("output format %q: want table or json", f)
	}
}

// show writes v as JSON, or what people calls for.
func (p *program) show(c *cli.Context, v any, people func(w io.Writer)) error {
	machine, err := asJSON(c)
	if err != nil {
		return err
	}
	if machine {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	people(p.stdout)
	return nil
}

// showLine writes v as one line of JSON, for streams.
func (p *program) showLine(v any) error {
	enc := json.NewEncoder(p.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes aligned columns.
type table struct {
	out   io.Writer
	lines bytes.Buffer
	tw    *tabwriter.Writer
}

func newTable(out io.Writer, head ...string) *table {
	t := &table{out: out}
	t.tw = tabwriter.NewWriter(&t.lines, 0, 8, 3, ' ', 0)
	if len(head) > 0 {
		t.row(head...)
	}
	return t
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		// What comes from elsewhere must not break the table, nor steer the terminal.
		cells[i] = clean(c)
		if cells[i] == "" && i < len(cells)-1 {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t.tw, strings.Join(cells, "\t"))
}

// flush writes the table, without the spaces at the ends of lines.
func (t *table) flush() {
	_ = t.tw.Flush() // into memory
	for line := range strings.Lines(t.lines.String()) {
		fmt.Fprintln(t.out, strings.TrimRight(line, " \n"))
	}
}

// clean replaces control characters.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// ago is a time as people like it: "3s ago".
func (p *program) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := p.now().Sub(t)
	switch {
	case d < 0 && d > -time.Minute:
		return "now" // clocks differ a little
	case d < 0:
		return "in " + span(-d)
	}
	return span(d) + " ago"
}

// span is a duration in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// amount is a number of bytes in decimal units.
func amount(b int64) string {
	const units = "kMGTPE"
	if b < 1000 {
		return fmt.Sprintf("%d B", b)
	}
	v, i := float64(b)/1000, 0
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[i:i+1] + "B"
}

func cores(millis int64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", float64(millis)/1000), "0"), ".")
}

// rejections writes why nobody takes a job, as a tree.
func rejections(w io.Writer, rs []api.Rejection, indent string) {
	for _, r := range rs {
		name := r.Name
		if name == "" {
			name = r.ID
		}
		fmt.Fprintln(w, clean(fmt.Sprintf("%s%s %s: %s", indent, r.Kind, name, r.Reason)))
		rejections(w, r.Nested, indent+"  ")
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
