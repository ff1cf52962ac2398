package stepenvs.lanes;

/** The lane of a simulator had a fault in another simulator's call: its episodes have to be replayed in a new lane. */
public final class LaneLostException extends RuntimeException {
    private static final long serialVersionUID = 1;

    LaneLostException(int number) {
        super("lane " + number + " was given up after a fault");
    }
}
