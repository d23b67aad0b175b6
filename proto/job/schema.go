package job

import (
	"bytes"
	_ "embed"
)

// The test makes the schema of the types, their comments and the bounds, and
// fails where the committed file differs.
//
//go:generate go test -run=^TestSchemaIsCurrent$ . -update

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema (2020-12) of the job file, short forms included.
func Schema() []byte { return bytes.Clone(schema) }
