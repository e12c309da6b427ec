package main

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand"
	"net/rpc"
	"reflect"
	"time"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/argoproj/argo-rollouts/utils/plugin/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/randfill"
)

// Batch is one gob stream of random values of one type, each sent as Argo sends its arguments: in an interface.
type Batch struct {
	Kind    string            `json:"kind"`
	Hex     string            `json:"hex"`
	Decoded []json.RawMessage `json:"decoded"`
}

// Reply is a stream of ours: the types that it is to be decoded into, one after another.
type Reply struct {
	Types []string `json:"types"`
	Hex   string   `json:"hex"`
}

const batchSize = 10

type kindUint uint16
type kindComplex complex64

var argoKinds = []any{v1alpha1.AnalysisRun{}, v1alpha1.Rollout{}, v1alpha1.Metric{}, v1alpha1.Measurement{}}

var replyTypes = map[string]reflect.Type{
	"Response":    reflect.TypeOf(rpc.Response{}),
	"Measurement": reflect.TypeOf(v1alpha1.Measurement{}),
	"RpcError":    reflect.TypeOf(types.RpcError{}),
	"strings":     reflect.TypeOf(map[string]string{}),
	"string":      reflect.TypeOf(""),
	"uint32":      reflect.TypeOf(uint32(0)),
	"empty":       reflect.TypeOf(struct{}{}),
}

// randomBatches writes batches of count values in all; the first half are Argo's types, the others made up.
func randomBatches(out io.Writer, seed int64, count int) {
	lines := json.NewEncoder(out)
	chance := rand.New(rand.NewSource(seed))
	fill := filler(chance)
	register("inner", inner{})
	register("gobber", gobber{})
	register("kindInt", kindInt(0))
	register("kindMap", kindMap{})
	for _, kind := range argoKinds {
		register(reflect.TypeOf(kind).Name(), kind)
	}
	for done := 0; done < count; done += batchSize {
		kind := reflect.TypeOf(argoKinds[done/batchSize%len(argoKinds)])
		if 2*done >= count {
			for kind = randomType(chance, 3); kind.Kind() == reflect.Interface; {
				kind = randomType(chance, 3)
			}
			if _, known := registered[kind]; !known && !gobKnows(kind) {
				register(fmt.Sprintf("random%d", done), reflect.Zero(kind).Interface())
			}
		}
		must(lines.Encode(batch(fill, kind)))
	}
}

// gobKnows tells whether gob itself has registered a type: the basic ones, and slices of them.
func gobKnows(kind reflect.Type) bool {
	if kind.Kind() == reflect.Slice && kind.Name() == "" {
		kind = kind.Elem()
	}
	return kind.PkgPath() == "" && kind.Name() != ""
}

func batch(fill *randfill.Filler, kind reflect.Type) Batch {
	var stream bytes.Buffer
	encoder := gob.NewEncoder(&stream)
	b := Batch{Kind: kind.String()}
	if len(b.Kind) > 200 {
		b.Kind = b.Kind[:200]
	}
	for range batchSize {
		v := reflect.New(kind)
		fill.Fill(v.Interface())
		repair(v.Elem())
		content := v.Elem().Interface()
		must(encoder.Encode(&content))
		b.Decoded = append(b.Decoded, dump(&content))
	}
	b.Hex = hex.EncodeToString(stream.Bytes())
	return b
}

func filler(chance *rand.Rand) *randfill.Filler {
	return randfill.New().RandSource(chance).NilChance(0.7).NumElements(0, 3).MaxDepth(14).Funcs(
		func(s *string, c randfill.Continue) { *s = randomString(c) },
		func(f *float64, c randfill.Continue) {
			*f = []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(-1), math.MaxFloat64, c.NormFloat64()}[c.Intn(6)]
		},
		func(n *int, c randfill.Continue) {
			*n = []int{0, 63, -64, 64, math.MaxInt, math.MinInt, int(c.Int63())}[c.Intn(7)]
		},
		func(g *gobber, c randfill.Continue) { g.text = randomString(c) },
		func(b *binaryer, c randfill.Continue) { b.n = uint16(c.Uint64()) },
		func(a *any, c randfill.Continue) { *a = randomContent(c) },
		func(_ *runtime.Object, _ randfill.Continue) {}, // no implementation of it is registered, in Argo neither
	)
}

func randomString(c randfill.Continue) string {
	switch c.Intn(12) {
	case 0:
		return ""
	case 1:
		raw := make([]byte, c.Intn(9)) // as a rule no UTF-8
		c.Read(raw)
		return string(raw)
	case 2:
		return c.String(300)
	}
	return c.String(12)
}

func randomContent(c randfill.Continue) any {
	switch c.Intn(7) {
	case 0:
		return c.Int63()
	case 1:
		return randomString(c)
	case 2:
		return inner{V: c.Intn(3)}
	case 3:
		return gobber{randomString(c)}
	case 4:
		return kindInt(c.Intn(256) - 128)
	case 5:
		return kindMap{kindString(randomString(c)): kindInt(c.Intn(3))}
	}
	return nil
}

var scalarTypes = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int64](), reflect.TypeFor[uint](),
	reflect.TypeFor[uint8](), reflect.TypeFor[uint64](), reflect.TypeFor[float32](), reflect.TypeFor[float64](),
	reflect.TypeFor[complex128](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[kindString](),
	reflect.TypeFor[kindBytes](), reflect.TypeFor[kindMap](), reflect.TypeFor[time.Time](), reflect.TypeFor[metav1.Time](),
	reflect.TypeFor[gobber](), reflect.TypeFor[binaryer](), reflect.TypeFor[inner](), reflect.TypeFor[any](),
}

// keyTypes have no NaN, of which a map can hold many that nobody can look up.
var keyTypes = []reflect.Type{
	reflect.TypeFor[string](), reflect.TypeFor[int](), reflect.TypeFor[uint8](), reflect.TypeFor[bool](), reflect.TypeFor[float32](),
	reflect.TypeFor[kindString](), reflect.TypeFor[kindUint](), reflect.TypeFor[kindComplex](), reflect.TypeFor[inner](),
	reflect.TypeFor[[2]int](), reflect.TypeFor[gobber](),
}

func randomType(chance *rand.Rand, depth int) reflect.Type {
	scalar := scalarTypes[chance.Intn(len(scalarTypes))]
	if depth == 0 {
		return scalar
	}
	switch chance.Intn(7) {
	case 0:
		return reflect.SliceOf(randomType(chance, depth-1))
	case 1:
		return reflect.ArrayOf(chance.Intn(4), randomType(chance, depth-1))
	case 2:
		return reflect.MapOf(keyTypes[chance.Intn(len(keyTypes))], randomType(chance, depth-1))
	case 3, 4, 5:
		var fields []reflect.StructField
		for i := range 1 + chance.Intn(7) {
			inner := randomType(chance, depth-1)
			if chance.Intn(4) == 0 && inner.Kind() != reflect.Interface {
				inner = reflect.PointerTo(inner)
			}
			fields = append(fields, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: inner})
		}
		return reflect.StructOf(fields)
	}
	return scalar
}

// repair replaces what gob cannot encode: nil pointers as elements of slices, arrays and maps.
func repair(v reflect.Value) {
	if _, _, ok := opaque(v); ok {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			repair(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				repair(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			there(v.Index(i))
			repair(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			there(value)
			repair(value)
			v.SetMapIndex(key, value)
		}
	}
}

func there(v reflect.Value) {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
	}
}

// readBack decodes each stream of in, a Reply a line, and writes what Go read, or why it did not.
func readBack(in io.Reader, out io.Writer) {
	lines, answers := json.NewDecoder(bufio.NewReaderSize(in, 1<<20)), json.NewEncoder(out)
	for {
		var reply Reply
		if err := lines.Decode(&reply); err == io.EOF {
			return
		} else {
			must(err)
		}
		raw, err := hex.DecodeString(reply.Hex)
		must(err)
		decoder := gob.NewDecoder(bytes.NewReader(raw))
		answer := struct {
			Decoded []json.RawMessage `json:"decoded"`
			Error   string            `json:"error"`
		}{}
		for _, name := range reply.Types {
			v := reflect.New(replyTypes[name])
			if err := decoder.DecodeValue(v); err != nil {
				answer.Error = fmt.Sprintf("%s: %v", name, err)
				break
			}
			answer.Decoded = append(answer.Decoded, dump(v.Interface()))
		}
		must(answers.Encode(answer))
	}
}
