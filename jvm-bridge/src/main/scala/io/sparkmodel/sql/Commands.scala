// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.sql

import java.lang.ref.WeakReference

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.control.{Card, Control, ControlClient, Deployed, Json, TableSource}
import io.sparkmodel.sparkml.SparkMl
import io.sparkmodel.wire.ModelException
import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.sql.catalyst.expressions.{Attribute, AttributeReference}
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan
import org.apache.spark.sql.catalyst.rules.Rule
import org.apache.spark.sql.execution.ExplainMode
import org.apache.spark.sql.execution.command.{ExplainCommand, LeafRunnableCommand}
import org.apache.spark.sql.sparkmodel.SqlInternals
import org.apache.spark.sql.types.{DataType, IntegerType, LongType, StringType}

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
    case show: ShowCreateModel => ShowCreateModelCommand(show)
    case describe: DescribeModel => DescribeModelCommand(describe)
    case ExplainModel(statement, mode) => ExplainCommand(of(statement), ExplainMode.fromString(mode))
  }
}

/** Refuses a statement before it runs. */
object CheckStatements extends Rule[LogicalPlan] {
  override def apply(plan: LogicalPlan): LogicalPlan = plan match {
    case command: ModelCommand => command.check(); plan
    case _ => plan
  }
}

/** How a model is made, again if the control process that had it has died. */
private case class Remake(session: SparkSession, request: ObjectNode) {
  private def text(key: String): Option[String] = Option(request.get(key)).filterNot(_.isNull).map(_.asText)

  def send(call: (String, ObjectNode) => JsonNode): JsonNode =
    TableSource.within(session, text("using"), text("location"), request)(call("create", request))

  def keep(): Unit = {
    val again = request.deepCopy().put("if_not_exists", true).put("replace", false)
    val maker = new WeakReference(session) // nor does a model keep a session that has been closed
    Deployed.remember(request.required("name").asText, new Deployed.Maker(again) {
      override def make(client: ControlClient): Unit = {
        val owner = Option(maker.get)
        val card = new Card(Remake(owner.getOrElse(SparkSession.active), again).send(client.call(_, _)))
        owner.foreach { session =>
          SqlInternals.function(session, card.name) match { // of a pool that is gone
            case Some(_: ModelFunction) => SqlInternals.setFunction(session, card.name, card.function)
            case _ =>
          }
        }
      }
    })
  }
}

case class CreateModelCommand(statement: CreateModel) extends ModelCommand {
  import statement.name

  private def isLocal = statement.using.contains("sparkml")

  override protected def authorize(): Unit = {
    Access.checkDdl("create", name)
    statement.code.foreach(_ => Access.checkInlineCode(name))
    statement.location.foreach(Access.checkLocation("create", name, statement.using, _))
    Access.checkOptions("create", name, statement.options.map(_._1))
  }

  override protected def checkOptions(): Unit =
    if (isLocal) SparkMl.settings(name, localOptions)
    else if (statement.options.nonEmpty) {
      val body = ControlClient.body
      statement.output.foreach(body.put("output", _))
      Control.call("check", body.set[ObjectNode]("options", Json.of(statement.options.toMap)))
    }

  override protected def perform(session: SparkSession): Seq[Row] = {
    if (!(statement.ifNotExists && exists(session))) {
      checkFree(session)
      if (isLocal) createLocal(session) else create(session)
    }
    Nil
  }

  private def exists(session: SparkSession): Boolean =
    LocalModels.find(name).isDefined || ifLoaded(Deployed.find(session, name, isCertain = true)).isDefined ||
      SqlInternals.function(session, name).exists(f => f.isInstanceOf[ModelFunction] || f.isInstanceOf[LocalFunction])

  private def checkFree(session: SparkSession): Unit = {
    def taken(fact: String, hint: String) =
      throw ModelAnalysisException("NAME_TAKEN", s"Cannot create model '$name'", fact, hint)
    SqlInternals.function(session, name) match {
      case Some(_: ModelFunction) | Some(_: LocalFunction) =>
        if (!statement.replace) taken("there is one of that name", "write CREATE OR REPLACE MODEL, or drop it first")
      case Some(_) => taken("this session has a SQL function of that name", "take another name")
      case None =>
        if (LocalModels.find(name).isDefined && !statement.replace)
          taken("there is one of that name", "write CREATE OR REPLACE MODEL, or drop it first")
        if (SqlInternals.hasPersistentFunction(session, name))
          taken("the current database has a SQL function of that name", "take another name")
        others(session).foreach { card =>
          if (!Deployed.isVisible(session, card))
            taken("another session has a temporary model of that name", "take another name")
          else if (statement.temporary && statement.replace)
            taken("all sessions have a model of that name", "take another name, or write CREATE OR REPLACE MODEL")
        }
    }
  }

  /** The model of that name that is no function of this session. */
  private def others(session: SparkSession): Option[JsonNode] =
    if (Deployed.isIdle) None
    else
      try ifLoaded(Some(ask("card", "create", name)))
      catch { case error: ModelAnalysisException if error.getCondition == "MODEL_NOT_FOUND" => None }

  /** One that another session is just making is none yet: the control service waits until it is there, or has failed. */
  private def ifLoaded[A](found: => Option[A]): Option[A] =
    try found
    catch {
      case error: ModelException if error.condition == "POOL_NOT_READY" => None
      case error: ModelAnalysisException if error.getCondition == "POOL_NOT_READY" => None
    }

  private def create(session: SparkSession): Unit = {
    val request = ControlClient.body
      .put("name", name)
      .put("replace", statement.replace)
      .put("if_not_exists", statement.ifNotExists)
      .put("time_zone", SqlInternals.timeZone(session))
    def set(key: String, value: Option[String]): Unit = value.foreach(request.put(key, _))
    set("using", statement.using)
    set("location", statement.location)
    set("code", statement.code)
    set("inputs", statement.inputs)
    set("output", statement.output)
    set("comment", statement.comment)
    request.set[ObjectNode]("options", Json.of(statement.options.toMap))
    val kept = StatementText.toJson(statement)
    if (statement.temporary) kept.put("session", SqlInternals.id(session))
    request.set[ObjectNode]("statement", kept)
    val card = new Card(Remake(session, request).send(Control.call(_, _)))
    LocalModels.remove(name)
    if (statement.temporary) SqlInternals.setFunction(session, name, card.function)
    else if (SqlInternals.function(session, name).isDefined) SqlInternals.setFunction(session, name, card.function)
    Remake(session, request).keep()
    if (!statement.replace) Users.forget(name) // of one that ended without a statement
    Users.note(session, name)
  }

  private def localOptions: Map[String, String] =
    statement.options.map { case (key, value) => key -> value.toString }.toMap ++ statement.inputs.map("input" -> _)

  private def createLocal(session: SparkSession): Unit = {
    val model = SparkMl.load(session, name, statement.location.get, localOptions)
    val function = new LocalFunction(statement, model)
    if (statement.temporary) SqlInternals.setFunction(session, name, function)
    else {
      SqlInternals.function(session, name).foreach(_ => SqlInternals.dropFunction(session, name))
      LocalModels.put(function)
    }
  }
}

case class AlterModelCommand(statement: AlterModel) extends ModelCommand {
  import statement.name

  private def isLocal = LocalModels.find(name).isDefined

  override protected def authorize(): Unit = {
    Access.checkDdl("alter", name)
    statement.action match {
      case SetOptions(options) => Access.checkOptions("alter", name, options.map(_._1))
      case _ =>
    }
  }

  override protected def checkOptions(): Unit = statement.action match {
    case _ if isLocal =>
    case SetOptions(options) => Control.call("check", ControlClient.body.set("options", Json.of(options.toMap)))
    case UnsetOptions(keys) => Control.call("check", ControlClient.body.set("keys", Json.of(keys)))
    case _ =>
  }

  override protected def perform(session: SparkSession): Seq[Row] = {
    if (isLocal) throw ModelAnalysisException(
      "UNSUPPORTED_SOURCE", s"Cannot alter model '$name'", "it is evaluated without a pool",
      "write CREATE OR REPLACE MODEL")
    val card = visible(session, "card", "alter", name)
    val body = ControlClient.body
    statement.action match {
      case SetLocation(location) =>
        val using = Option(card.path("statement").path("using").asText(null)).filter(_ != "null")
        Access.checkLocation("alter", name, using, location)
        body.put("action", "location").put("location", location)
        TableSource.within(session, using, Some(location), body)(ask("alter", "alter", name, body))
      case SetOptions(options) =>
        body.put("action", "options").set[ObjectNode]("options", Json.of(options.toMap))
        ask("alter", "alter", name, body)
      case UnsetOptions(keys) =>
        body.put("action", "unset").set[ObjectNode]("keys", Json.of(keys))
        ask("alter", "alter", name, body)
      case ScaleTo(workers) => ask("alter", "alter", name, body.put("action", "scale").put("workers", workers))
      case Refresh => ask("alter", "alter", name, body.put("action", "refresh"))
      case Rollback => ask("alter", "alter", name, body.put("action", "rollback"))
    }
    Deployed.follow(name, ask("card", "alter", name))
    Nil
  }
}

case class DropModelCommand(statement: DropModel) extends ModelCommand {
  import statement.name

  override protected def authorize(): Unit = Access.checkDdl("drop", name)

  override protected def perform(session: SparkSession): Seq[Row] = {
    val others = if (statement.force) 0 else Users.others(session, name)
    def isThere = LocalModels.find(name).isDefined || Deployed.find(session, name, isCertain = true).isDefined
    if (others > 0 && isThere) throw ModelAnalysisException(
      "MODEL_IN_USE", s"Cannot drop model '$name'",
      s"$others other session${if (others > 1) "s have" else " has"} called it within ten minutes",
      s"write DROP MODEL $name FORCE")
    val wasLocal = dropLocal(session)
    if (!wasLocal)
      try {
        val pool = SqlInternals.function(session, name) match {
          case Some(function: ModelFunction) => function.handle.name // registered under another name
          case _ => name
        }
        checkVisible(session, pool)
        ask("drop", "drop", pool, ControlClient.body.put("force", statement.force))
        SqlInternals.function(session, name).foreach(_ => SqlInternals.dropFunction(session, name))
      } catch { case error: ModelAnalysisException if error.getCondition == "MODEL_NOT_FOUND" && statement.ifExists => }
    Deployed.forget(name)
    Users.forget(name)
    Nil
  }

  /** One that is still loading has no card yet; who forces it ends what loads. */
  private def checkVisible(session: SparkSession, pool: String): Unit =
    try visible(session, "card", "drop", pool)
    catch {
      case error: ModelException if error.condition == "POOL_NOT_READY" => if (!statement.force)
        throw ModelAnalysisException(
          error.condition, s"Cannot drop model '$name'", "it is still loading", s"wait for it, or write DROP MODEL $name FORCE")
    }

  private def dropLocal(session: SparkSession): Boolean = SqlInternals.function(session, name) match {
    case Some(_: LocalFunction) => SqlInternals.dropFunction(session, name); true
    case Some(_: ModelFunction) => false
    case Some(_) => throw notFound("drop", name)
    case None => LocalModels.remove(name)
  }
}

case class ShowModelsCommand(statement: ShowModels) extends ModelCommand {
  override val output: Seq[Attribute] = Seq(
    column("name"), column("version", IntegerType), column("state"), column("workers", IntegerType),
    column("rows", LongType), column("source"), column("comment"))

  override protected def perform(session: SparkSession): Seq[Row] = {
    val pools =
      if (Deployed.isIdle) Nil
      else Control.call("list", ControlClient.body).required("models").elements.asScala.toSeq.filter(Deployed.isVisible(session, _)).map { model =>
        Row(
          model.path("name").asText, model.path("version").asInt, model.path("state").asText,
          model.path("workers").asInt, model.path("rows").asLong, model.path("source").asText,
          model.path("comment").asText(""))
      }
    val local = LocalModels.all.map { function =>
      val made = function.statement
      Row(made.name, 1, "ready", 0, null, made.location.getOrElse(""), made.comment.getOrElse(""))
    }
    val all = (pools ++ local).sortBy(_.getString(0))
    val pattern = statement.pattern.map(org.apache.spark.sql.catalyst.util.StringUtils.filterPattern(all.map(_.getString(0)), _))
    pattern.fold(all)(names => all.filter(row => names.contains(row.getString(0))))
  }
}

case class ShowCreateModelCommand(statement: ShowCreateModel) extends ModelCommand {
  override val output: Seq[Attribute] = Seq(column("createmodel_stmt"))

  override protected def perform(session: SparkSession): Seq[Row] = {
    val text = LocalModels.find(statement.name) match {
      case Some(local) => StatementText.toSql(local.statement)
      case None => StatementText.toSql(visible(session, "card", "show", statement.name))
    }
    Seq(Row(text))
  }
}

case class DescribeModelCommand(statement: DescribeModel) extends ModelCommand {
  override val output: Seq[Attribute] = Seq(column("info_name"), column("info_value"))

  override protected def perform(session: SparkSession): Seq[Row] = {
    val rows = LocalModels.find(statement.name) match {
      case Some(local) => Description.of(local)
      case None => Description.of(visible(session, "describe", "describe", statement.name), statement.extended)
    }
    rows.map { case (name, value) => Row(name, value) }
  }
}
