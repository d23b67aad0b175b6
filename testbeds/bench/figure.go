package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is one line of the result. The targets are those of the second
// milestone, "One job, end to end".
type figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit,omitempty"`
	P99    float64 `json:"p99,omitempty"`    // if Value is a median
	Target float64 `json:"target,omitempty"` // at most; 0: only for information
	OK     bool    `json:"ok"`
	Note   string  `json:"note,omitempty"`
}

// atMost is a figure that should not exceed a target.
func atMost(name string, value float64, unit string, target float64) figure {
	return figure{Name: name, Value: value, Unit: unit, Target: target, OK: value <= target}
}

// median is the median of durations, in milliseconds, beside its 99th percentile.
func median(name string, d []time.Duration, target float64) figure {
	f := atMost(name, milliseconds(percentile(d, 50)), "ms", target)
	f.P99 = milliseconds(percentile(d, 99))
	return f
}

// noted is the figure with a note.
func (f figure) noted(format string, args ...any) figure {
	f.Note = fmt.Sprintf(format, args...)
	return f
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// percentile is the nearest rank: the smallest value that is not exceeded by p
// percent of them.
func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	return s[max(0, (len(s)*p+99)/100-1)]
}

func (f figure) verdict() string {
	switch {
	case f.Unit == "":
		return "-"
	case f.Target == 0:
		return ""
	case f.OK:
		return "ok"
	}
	return "MISSED"
}

func printTable(w io.Writer, figures []figure) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tMEASURED\tP99\tTARGET\t\tNOTE")
	for _, f := range figures {
		value, p99, target := "-", "", ""
		if f.Unit != "" {
			value = number(f.Value) + " " + f.Unit
		}
		if f.P99 != 0 {
			p99 = number(f.P99) + " " + f.Unit
		}
		if f.Target != 0 {
			target = "≤ " + number(f.Target) + " " + f.Unit
		}
		fmt.Fprintln(t, strings.Join([]string{f.Name, value, p99, target, f.verdict(), f.Note}, "\t"))
	}
	_ = t.Flush()
}

// number writes three digits that count, and no more than needed.
func number(v float64) string {
	s := strconv.FormatFloat(v, 'g', 3, 64)
	if strings.Contains(s, "e") {
		s = strconv.FormatFloat(v, 'f', 0, 64)
	}
	return s
}
