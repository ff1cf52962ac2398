package stepenvs.lanes;

/**
 * What a simulator asks of the engine inside its lane.
 *
 * <p>The engine's classes exist once in every lane, so nobody outside a lane can name them. This interface is loaded once
 * for all lanes; it is how a call gets inside.
 */
public interface LaneEngine {
    /** Loads a task and looks around; returns the reply as {@link Reply#text} lays it out. */
    String load(String task, int variation, String simplifications);

    /**
     * Gives the engine one input.
     *
     * @param draw whether the random numbers of the list of valid actions are still to be drawn for the state before
     * @return the reply as {@link Reply#text} lays it out
     */
    String step(String action, boolean draw);

    /** Lists the valid actions, one a line, and draws the random numbers that listing them takes. */
    String validActions();

    /** Returns the task in the engine's words. */
    String taskDescription();

    /** Returns the engine's table of subgoals. */
    String goalProgress();

    /** Returns the engine's own solution of a task, one action a line. The task that was loaded before is gone then. */
    String goldPath(String task, int variation, String simplifications);
}
