// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.call.ModelAnalysisException
import io.sparkmodel.control.{Control, ControlClient}
import io.sparkmodel.models.{Deployed, LocalModels}
import io.sparkmodel.parse._
import io.sparkmodel.wire.ModelException
import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeReference}
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan
import org.apache.spark.sql.execution.ExplainMode
import org.apache.spark.sql.execution.command.{ExplainCommand, LeafRunnableCommand}
import org.apache.spark.sql.types.{DataType, StringType}

/** A statement about models as Spark runs it. */
trait ModelCommand extends LeafRunnableCommand {
  protected def perform(session: SparkSession): Seq[Row]

  override def run(session: SparkSession): Seq[Row] = told {
    authorize()
    perform(session)
  }

  /** What is wrong whatever models there are, told when the statement is analysed: EXPLAIN says it too. */
  def check(): Unit = told {
    authorize()
    checkOptions()
  }

  /** Whether this application lets its sessions do it. */
  protected def authorize(): Unit = ()

  protected def checkOptions(): Unit = ()

  private def told[A](body: => A): A =
    try body
    catch { case error: ModelException => throw ModelAnalysisException.from(error) }

  protected def column(name: String, dataType: DataType = StringType): Attribute =
    AttributeReference(name, dataType, nullable = true)()

  protected def notFound(verb: String, name: String): ModelAnalysisException = ModelAnalysisException(
    "MODEL_NOT_FOUND", s"Cannot $verb model '$name'", "there is no such model",
    ModelAnalysisException.suggest(name, Deployed.names ++ LocalModels.names))

  /** Ask the control service about one model; it is not started to say that it knows none. */
  protected def ask(command: String, verb: String, name: String, body: ObjectNode = ControlClient.body): JsonNode = {
    if (Deployed.isIdle) throw notFound(verb, name)
    try Control.call(command, body.put("name", name))
    catch { case error: ModelException if error.condition == "MODEL_NOT_FOUND" && error.what.contains("find model") =>
      throw notFound(verb, name) }
  }

  /** What is known of a model that this session sees. */
  protected def visible(session: SparkSession, command: String, verb: String, name: String): JsonNode = {
    val card = ask(command, verb, name)
    if (!Deployed.isVisible(session, card)) throw notFound(verb, name)
    card
  }
}

object ModelCommand {

  /** The command of a statement. */
  def of(statement: Statement): LogicalPlan = statement match {
    case create: CreateModel => CreateModelCommand(create)
    case alter: AlterModel => AlterModelCommand(alter)
    case drop: DropModel => DropModelCommand(drop)
    case show: ShowModels => ShowModelsCommand(show)
    case show: ShowModelVersions => ShowModelVersionsCommand(show)
    case show: ShowCreateModel => ShowCreateModelCommand(show)
    case describe: DescribeModel => DescribeModelCommand(describe)
    case ExplainModel(statement, mode) => ExplainCommand(of(statement), ExplainMode.fromString(mode))
  }
}
