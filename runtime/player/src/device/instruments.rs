//! The kernels of the judge and of the player's clocks, loaded from PTX that travels in the binary.
//!
//! `instruments.cu` beside this file says what each does and how the PTX was made from it.

use std::ffi::{CString, c_void};
use std::rc::Rc;

use cudarc::driver::sys;

use super::context::Gpu;
use super::error::{DeviceError, check};
use super::host_window::HostWords;
use super::memory::{DeviceBuffer, Region, download, fill};
use super::stream::Stream;

/// Compiled for compute capability 7.5 and later; the driver translates it when it is loaded.
const PTX: &str = include_str!("instruments.ptx");
/// Threads of a block: a multiple of a warp that fills a multiprocessor with eight blocks.
const BLOCK_THREADS: u32 = 256;
/// Local memory of a thread that [`Instruments::scrub`] overwrites: the kernel's frame, in bytes.
pub(crate) const SCRUBBED_FRAME_BYTES: u32 = 16 * 1024;
/// Threads of a block that scrubs: as many as a block can have.
const SCRUB_THREADS: u32 = 1024;
/// Blocks per multiprocessor for kernels that stride over their data.
const BLOCKS_PER_MULTIPROCESSOR: u32 = 8;
/// A comparison's answer: seven 8-byte words.
const COMPARISON_WORDS: usize = 7;
/// Outputs that are compared before the host waits for answers; few operators have more.
const COMPARISONS_AT_ONCE: usize = 16;
/// The answers' words: a number of changed words, and the comparisons.
const ANSWER_WORDS: usize = 1 + COMPARISON_WORDS * COMPARISONS_AT_ONCE;
/// Elements or vectors that each thread of a comparison gets before it gets company.
const ELEMENTS_PER_THREAD: u64 = 8;

/// The loaded kernels.
#[derive(Debug)]
pub struct Instruments {
    gpu: Rc<Gpu>,
    module: sys::CUmodule,
    nonce: String,
    answers: DeviceBuffer,
}

/// One argument of a launch: its bytes, wide enough for every type that is passed.
#[derive(Clone, Copy)]
struct Argument(u64);

impl From<u64> for Argument {
    fn from(value: u64) -> Self {
        Self(value)
    }
}

impl From<u32> for Argument {
    fn from(value: u32) -> Self {
        Self(u64::from(value))
    }
}

impl From<f64> for Argument {
    fn from(value: f64) -> Self {
        Self(value.to_bits())
    }
}

impl<const COUNT: usize> From<HostWords<'_, COUNT>> for Argument {
    fn from(words: HostWords<'_, COUNT>) -> Self {
        Self(words.address())
    }
}

impl From<Region> for Argument {
    fn from(value: Region) -> Self {
        Self(value.pointer())
    }
}

/// The numbers by which random elements are made; the judge's generator says what they mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FillRecipe {
    /// Which integer an element starts from: 0 bell, 1 flat, 2 whole.
    pub form: u32,
    /// Factor of the float forms.
    pub multiplier: f32,
    /// Summand of the float forms.
    pub offset: f32,
    /// Largest magnitude of the float forms.
    pub limit: f32,
    /// Summand of the whole form.
    pub low: i64,
    /// How many values the whole form has.
    pub span: u32,
    /// Key of the counter-based generator.
    pub key: [u32; 2],
    /// Third word of its counter.
    pub iteration: u32,
}

/// One output and what was expected of it: elements, with the numbers of their types.
#[derive(Debug, Clone, Copy)]
pub struct OutputPair {
    /// What was found.
    pub found: Region,
    /// The number of its element type.
    pub found_dtype: u32,
    /// What was expected.
    pub expected: Region,
    /// The number of its element type.
    pub expected_dtype: u32,
    /// How many elements both hold.
    pub count: u64,
}

/// How one output compares with what was expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GpuComparison {
    /// Elements beyond both tolerances, or not finite where they should be, or finite where they should not.
    pub off: u64,
    /// Of these, elements where only one of the two is finite, or both are not and differ.
    pub non_finite: u64,
    /// Elements where infinite or NaN was expected.
    pub reference_broken: u64,
    /// Largest absolute error.
    pub max_absolute: f64,
    /// Largest relative error, with FlashInfer-Bench's epsilon.
    pub max_relative: f64,
    /// Sum of squared errors.
    pub squared_error: f64,
    /// Sum of squared reference values.
    pub squared_reference: f64,
}

impl GpuComparison {
    fn of_words(words: &[u64]) -> Self {
        Self {
            off: words[0],
            non_finite: words[1],
            reference_broken: words[2],
            max_absolute: f64::from_bits(words[3]),
            max_relative: f64::from_bits(words[4]),
            squared_error: f64::from_bits(words[5]),
            squared_reference: f64::from_bits(words[6]),
        }
    }

    /// ‖x − y‖ / ‖y‖; the error stands for itself where the reference is all zero.
    pub fn norm_error(&self) -> f64 {
        let error = self.squared_error.sqrt();
        if self.squared_reference > 0.0 { error / self.squared_reference.sqrt() } else { error }
    }
}

impl Instruments {
    /// Loads the kernels under names that carry a nonce. Letters and digits only.
    pub fn load(gpu: &Rc<Gpu>, nonce: &str) -> Result<Self, DeviceError> {
        let text = CString::new(PTX.replace("NONCE", nonce)).expect("PTX and nonce hold no NUL");
        let mut module = std::ptr::null_mut();
        // SAFETY: the image is terminated text; the handle is written to a live variable.
        check("cuModuleLoadData", unsafe { sys::cuModuleLoadData(&raw mut module, text.as_ptr().cast()) })?;
        let answers = DeviceBuffer::allocate(gpu, 8 * ANSWER_WORDS as u64)?;
        Ok(Self { gpu: Rc::clone(gpu), module, nonce: nonce.to_owned(), answers })
    }

    /// Whether a kernel of this name is one of these.
    pub fn owns(&self, kernel: &str) -> bool {
        kernel.starts_with("proofmark_") && kernel.contains(&self.nonce)
    }

    /// Holds the stream until the word `flag` is `wanted`, at most for `limit_ns`; then sets the word
    /// `timed_out`.
    pub(crate) fn hold(
        &self,
        flag: HostWords<'_, 1>,
        wanted: u32,
        limit_ns: u64,
        timed_out: HostWords<'_, 1>,
        stream: &Stream,
    ) -> Result<(), DeviceError> {
        let arguments = [flag.into(), wanted.into(), limit_ns.into(), timed_out.into()];
        self.launch("hold", (1, 1), &arguments, stream)
    }

    /// Marks a point in a stream.
    pub fn mark(&self, stream: &Stream) -> Result<(), DeviceError> {
        self.launch("mark", (1, 1), &[], stream)
    }

    /// Overwrites the multiprocessors' shared memory, and with `frames` the local memory of threads too.
    pub(crate) fn scrub(&self, frames: bool, stream: &Stream) -> Result<(), DeviceError> {
        let facts = self.gpu.facts();
        let function = self.function("scrub")?;
        let which = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let most = i32::try_from(facts.shared_bytes).unwrap_or(i32::MAX);
        // SAFETY: the function lives; a value out of range is refused.
        check("cuFuncSetAttribute", unsafe { sys::cuFuncSetAttribute(function, which, most) })?;
        let launch = |blocks: u32, words: u32, frames: u32| {
            let arguments = [words.into(), frames.into(), self.answer_words(0, 1)?.into()];
            queue(function, (blocks, SCRUB_THREADS), 4 * words, &arguments, stream)
        };
        launch(facts.multiprocessors, facts.shared_bytes / 4, 0)?;
        // With little shared memory a multiprocessor holds as many threads as it can: each has its frame.
        if frames { launch(2 * facts.multiprocessors, SCRUB_THREADS, 1) } else { Ok(()) }
    }

    /// Overwrites a region, so that L2 holds it and nothing else.
    pub fn flush(&self, region: Region, value: u32, stream: &Stream) -> Result<(), DeviceError> {
        self.launch(
            "flush",
            self.wide(),
            &[region.into(), (region.size_bytes() / 16).into(), value.into()],
            stream,
        )
    }

    /// Counts cycles over a stretch of time: two long words, cycles and nanoseconds. No copy, which
    /// would look like somebody's work in activity records.
    pub(crate) fn count_cycles(
        &self,
        stretch_ns: u64,
        to: HostWords<'_, 4>,
        stream: &Stream,
    ) -> Result<(), DeviceError> {
        self.launch("count_cycles", (1, 1), &[to.into(), stretch_ns.into()], stream)
    }

    /// Makes random elements of the type with this number, by the judge's specification.
    pub fn make(
        &self,
        out: Region,
        dtype: u32,
        recipe: &FillRecipe,
        count: u64,
        stream: &Stream,
    ) -> Result<(), DeviceError> {
        let arguments = [
            out.into(),
            dtype.into(),
            recipe.form.into(),
            recipe.multiplier.to_bits().into(),
            recipe.offset.to_bits().into(),
            recipe.limit.to_bits().into(),
            recipe.low.cast_unsigned().into(),
            recipe.span.into(),
            recipe.key[0].into(),
            recipe.key[1].into(),
            recipe.iteration.into(),
            count.into(),
        ];
        self.launch("make", self.wide(), &arguments, stream)
    }

    /// Compares outputs with what was expected, counts the words and trailing bytes in which pairs of
    /// regions of the same length differ, and waits for the answers.
    pub fn check(
        &self,
        outputs: &[OutputPair],
        (absolute_tolerance, relative_tolerance): (f64, f64),
        kept: &[(Region, Region)],
        stream: &Stream,
    ) -> Result<(Vec<GpuComparison>, u64), DeviceError> {
        let (mut comparisons, mut changed) = (Vec::new(), 0);
        // At least one round, for what was kept.
        for round in 0..outputs.len().div_ceil(COMPARISONS_AT_ONCE).max(1) {
            let first = round * COMPARISONS_AT_ONCE;
            let outputs = &outputs[first..outputs.len().min(first + COMPARISONS_AT_ONCE)];
            fill(self.answers.whole(), 0, stream)?;
            for (place, output) in outputs.iter().enumerate() {
                let arguments = [
                    output.found.into(),
                    output.found_dtype.into(),
                    output.expected.into(),
                    output.expected_dtype.into(),
                    output.count.into(),
                    absolute_tolerance.into(),
                    relative_tolerance.into(),
                    self.answer_words(1 + place * COMPARISON_WORDS, COMPARISON_WORDS)?.into(),
                ];
                self.launch("compare", self.enough(output.count), &arguments, stream)?;
            }
            for (a, b) in kept.iter().filter(|_| round == 0) {
                let (size, b) = (a.size_bytes(), b.part(0, a.size_bytes())?);
                let arguments = [(*a).into(), b.into(), size.into(), self.answer_words(0, 1)?.into()];
                self.launch("count_changed", self.enough(size / 16), &arguments, stream)?;
            }
            let words = self.answers(1 + outputs.len() * COMPARISON_WORDS, stream)?;
            changed += words[0];
            comparisons.extend(words[1..].chunks_exact(COMPARISON_WORDS).map(GpuComparison::of_words));
        }
        Ok((comparisons, changed))
    }

    fn answer_words(&self, first: usize, count: usize) -> Result<Region, DeviceError> {
        self.answers.region(8 * first as u64, 8 * count as u64)
    }

    fn answers(&self, count: usize, stream: &Stream) -> Result<Vec<u64>, DeviceError> {
        let mut bytes = vec![0; count * 8];
        download(self.answer_words(0, count)?, &mut bytes, stream)?;
        let word = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
        Ok(bytes.chunks_exact(8).map(word).collect())
    }

    /// Blocks and threads that give every thread of a striding kernel something to do.
    fn enough(&self, elements: u64) -> (u32, u32) {
        let (most, threads) = self.wide();
        let blocks = elements.div_ceil(ELEMENTS_PER_THREAD * u64::from(threads)).max(1);
        (u32::try_from(blocks).unwrap_or(u32::MAX).min(most), threads)
    }

    fn wide(&self) -> (u32, u32) {
        (self.gpu.facts().multiprocessors * BLOCKS_PER_MULTIPROCESSOR, BLOCK_THREADS)
    }

    fn launch(
        &self,
        name: &str,
        (blocks, threads): (u32, u32),
        arguments: &[Argument],
        stream: &Stream,
    ) -> Result<(), DeviceError> {
        queue(self.function(name)?, (blocks, threads), 0, arguments, stream)
    }

    fn function(&self, name: &str) -> Result<sys::CUfunction, DeviceError> {
        let full = CString::new(format!("proofmark_{}_{name}", self.nonce)).expect("no NUL in names");
        let mut function = std::ptr::null_mut();
        // SAFETY: the module lives; the handle is written to a live variable.
        check("cuModuleGetFunction", unsafe {
            sys::cuModuleGetFunction(&raw mut function, self.module, full.as_ptr())
        })?;
        Ok(function)
    }
}

impl Drop for Instruments {
    fn drop(&mut self) {
        // SAFETY: unloaded once.
        let _ = unsafe { sys::cuModuleUnload(self.module) };
    }
}

/// Queues a kernel with its arguments.
fn queue(
    function: sys::CUfunction,
    (blocks, threads): (u32, u32),
    shared_bytes: u32,
    arguments: &[Argument],
    stream: &Stream,
) -> Result<(), DeviceError> {
    let mut values = arguments.to_vec();
    let mut pointers: Vec<*mut c_void> =
        values.iter_mut().map(|value| std::ptr::from_mut(&mut value.0).cast()).collect();
    // SAFETY: the wrappers above pass what the kernel's signature in instruments.cu takes, and
    // little-endian words hold narrower values in their first bytes.
    check("cuLaunchKernel", unsafe {
        sys::cuLaunchKernel(
            function,
            blocks,
            1,
            1,
            threads,
            1,
            1,
            shared_bytes,
            stream.raw(),
            pointers.as_mut_ptr(),
            std::ptr::null_mut(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_ptx_was_made_from_the_source_beside_it() {
        // After a change: run the command at the top of instruments.cu, then note the new digest here.
        const MADE_FROM: &str = "bd9a9e0924158e7af6c00f5b9f768c5775941d3d79facba4fabd4fbb94f4165d";
        let source = proofmark_packager::Digest::of_bytes(include_bytes!("instruments.cu"));
        assert_eq!(source.to_string(), MADE_FROM);
    }

    #[test]
    fn carries_every_kernel_that_it_launches() {
        for name in ["hold", "mark", "scrub", "flush", "count_cycles", "count_changed", "compare", "make"] {
            assert!(PTX.contains(&format!(".entry proofmark_NONCE_{name}(")), "{name}");
        }
    }
}
