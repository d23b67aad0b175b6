package job

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Parse reads a job file, YAML or JSON, and checks it. A file that begins with
// {" or {} is JSON, any other YAML.
//
// The result says what the file says: call Normalize for the defaults. The
// error is an *InvalidError with all problems at once, in the order in which
// they stand in the file. A field that is named and given no value counts as
// not said. Parse never panics, and takes time and memory that are bounded
// whatever the input; more than MaxFileSize it does not look at.
func Parse(data []byte) (*Job, error) {
	src, problem := readable(data)
	if problem != nil {
		return nil, invalid([]Problem{*problem})
	}
	read := readYAML
	if isJSON(src) {
		read = readJSON
	}
	root, problem := read(src)
	switch {
	case problem != nil:
		return nil, invalid([]Problem{*problem})
	case root == nil || root.kind == null:
		return nil, invalid([]Problem{{Line: 1, Column: 1, Message: "the job file is empty; want at least api_version, job_name, image and image_runtime"}})
	}
	b := binder{at: map[string]pos{}}
	j := b.job(root)
	if err := invalid(append(b.problems, b.locate(j.problems())...)); err != nil {
		return nil, err
	}
	return j, nil
}

// isJSON tells JSON from a flow mapping of YAML, whose keys have no quotes.
func isJSON(src string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(src, " \t\n"), "{")
	rest = strings.TrimLeft(rest, " \t\n")
	return ok && (strings.HasPrefix(rest, `"`) || strings.HasPrefix(rest, "}"))
}

// readable returns data as text with lines that end in \n.
func readable(data []byte) (string, *Problem) {
	if len(data) > MaxFileSize {
		return "", &Problem{Line: 1, Column: 1, Message: "the job file is larger than 1 MiB; what a job needs beyond its description belongs in its image"}
	}
	src := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	line, column, signs := 1, 1, 0
	for i, c := range src {
		_, size := utf8.DecodeRuneInString(src[i:])
		if c == utf8.RuneError && size == 1 || c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			p := pos{line, column}.problem("", "the byte 0x%02x has no place in a text; want a job file in YAML or JSON, in UTF-8", src[i])
			return "", &p
		}
		if strings.ContainsRune("[]{},:-?\"'", c) {
			// The YAML library makes tokens of many lines at a time, each of
			// which is some hundred times as large as its sign.
			if signs++; signs > maxSigns {
				p := pos{line, column}.problem("", "%s", tooMany)
				return "", &p
			}
		}
		if column++; c == '\n' {
			line, column = line+1, 1
		}
	}
	return src, nil
}

// locate gives problems of a Job value their places in the file, and drops
// those of fields that the file gives in a way that could not be read.
func (b *binder) locate(problems []Problem) []Problem {
	bad := map[string]bool{}
	for _, p := range b.problems {
		bad[p.Field] = true
	}
	located := slices.DeleteFunc(problems, func(p Problem) bool {
		for f := p.Field; f != ""; f = parent(f) {
			if bad[f] {
				return true
			}
		}
		return bad[""]
	})
	for i, p := range located {
		at, ok := b.at[p.Field]
		for f := p.Field; !ok; f = parent(f) {
			at, ok = b.at[f]
			ok = ok || f == ""
		}
		located[i].Line, located[i].Column = at.line, at.column
	}
	return located
}

// parent is the path of what holds the field: "a[1].b", "a[1]", "a", "".
func parent(field string) string {
	return field[:max(strings.LastIndexAny(field, ".["), 0)]
}
