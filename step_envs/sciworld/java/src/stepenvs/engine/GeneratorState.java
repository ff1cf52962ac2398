package stepenvs.engine;

import java.lang.reflect.Field;
import java.util.Random;

/**
 * A {@link Random} whose state can be read and set: the same numbers from the same seed.
 *
 * <p>The engine draws everything from one global generator. Simulators that share it need their own place in its stream
 * put back before each call. {@code java.util.Random} hides its state from us, so a subclass repeats its documented
 * formula over a field of its own; every other method of {@code Random} draws through {@link #next}.
 */
final class GeneratorState extends Random {
    private static final long serialVersionUID = 1;
    private static final long MULTIPLIER = 0x5DEECE66DL;
    private static final long MASK = (1L << 48) - 1;

    /** The generator that the engine of this lane draws from. */
    static final GeneratorState SHARED = install();

    long state;

    private GeneratorState() {
        super(0);
    }

    /** Puts a generator of this kind into the place of the engine's own. */
    private static GeneratorState install() {
        GeneratorState generator = new GeneratorState();
        try {
            Field self = scala.util.Random.class.getDeclaredField("self");
            self.setAccessible(true);
            self.set(scala.util.Random$.MODULE$, generator);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException("the engine's random generator is not where it was", error);
        }
        return generator;
    }

    @Override
    public void setSeed(long seed) {
        state = (seed ^ MULTIPLIER) & MASK;
    }

    @Override
    protected int next(int bits) {
        state = (state * MULTIPLIER + 0xBL) & MASK;
        return (int) (state >>> (48 - bits));
    }
}
